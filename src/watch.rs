//! `status --watch`: the status page, live, with what it cannot show: how fast it has been going, and how
//! fast each worker goes. Where there is no terminal it is the page again and again.

use std::collections::{BTreeSet, VecDeque};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Paragraph, Sparkline};
use ratatui::{DefaultTerminal, Frame};
use status::{Document, Level};

use crate::Trouble;
use crate::ask::{self, Daemon};
use crate::cli::Cli;

/// The daemon is asked so often.
const EVERY: Duration = Duration::from_secs(1);
/// No Solr takes more a second; a graph cannot show any number.
const MOST: f64 = 1e12;
/// So many answers are remembered: more than a terminal is wide.
const REMEMBERED: usize = 512;
/// How high the history of the rate is drawn, and where there are fewer rows than so many.
const HEIGHT: u16 = 4;
const LOW: (u16, u16) = (30, 2);
/// Where the bars of workers begin, and what stands behind them.
const LABEL: u16 = 10;
const FIGURE: u16 = 16;

pub(crate) fn watch(cli: &Cli) -> Result<ExitCode, Trouble> {
    // What cannot be answered the first time is a mistake on the command line.
    let mut daemon = Daemon::at(ask::status_socket(cli), EVERY * 5)?;
    let first = daemon.document()?;
    if !std::io::stdout().is_terminal() {
        return print_again_and_again(daemon, &first);
    }
    let mut view = View::new(std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()));
    view.take(first, Instant::now());
    with_the_terminal(|terminal| show(cli, terminal, &mut view, Some(daemon)))
        .map_err(|e| Trouble::new(1, format!("the terminal: {e}")))?;
    Ok(ExitCode::SUCCESS)
}

/// Has the terminal, raw and on a page of its own, and gives it back: on a panic, too, before that is told.
fn with_the_terminal(
    show: impl FnOnce(&mut DefaultTerminal) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let mut terminal = ratatui::try_init()?;
    let ended = show(&mut terminal);
    ratatui::restore();
    ended
}

/// One page a second, parted by an empty line.
fn print_again_and_again(mut daemon: Daemon, first: &Document) -> Result<ExitCode, Trouble> {
    let mut page = status::page(first);
    loop {
        use std::io::Write;
        if let Err(e) = std::io::stdout().write_all(page.as_bytes()) {
            return ask::ended(&e);
        }
        let _ = sys::poll(&[], Some(EVERY));
        page = format!("\n{}", status::page(&daemon.document()?));
    }
}

fn show(
    cli: &Cli,
    terminal: &mut DefaultTerminal,
    view: &mut View,
    mut daemon: Option<Daemon>,
) -> std::io::Result<()> {
    let mut next = Instant::now() + EVERY;
    loop {
        terminal.draw(|frame| view.draw(frame))?;
        // A key, or another size, is seen at once.
        if event::poll(next.saturating_duration_since(Instant::now()))? {
            match event::read()? {
                Event::Key(key) if key.kind == KeyEventKind::Press => match key.code {
                    KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                    KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                        return Ok(());
                    }
                    _ => {}
                },
                _ => {}
            }
            continue;
        }
        next = Instant::now() + EVERY;
        let asked = match daemon.take() {
            Some(daemon) => Ok(daemon),
            None => Daemon::at(ask::status_socket(cli), EVERY * 5),
        };
        let answered = asked.and_then(|mut daemon| Ok((daemon.document()?, daemon)));
        match answered {
            Ok((document, alive)) => {
                view.take(document, Instant::now());
                daemon = Some(alive);
            }
            Err(trouble) => view.trouble = Some(trouble.message),
        }
    }
}

/// What is shown.
struct View {
    document: Option<Document>,
    /// When that was said.
    at: Option<Instant>,
    /// Why nothing newer is.
    trouble: Option<String>,
    /// Documents and deletes a second, the newest last.
    rates: VecDeque<u64>,
    /// The same of each slot, at present.
    workers: Vec<(u32, u64)>,
    no_color: bool,
}

impl View {
    fn new(no_color: bool) -> View {
        View {
            document: None,
            at: None,
            trouble: None,
            rates: VecDeque::new(),
            workers: Vec::new(),
            no_color,
        }
    }

    /// The daemon has said this.
    fn take(&mut self, document: Document, now: Instant) {
        let is_same = |before: &&Document| before.parent.pid == document.parent.pid;
        let before = self.document.as_ref().filter(is_same).zip(self.at);
        if let Some((before, at)) = before {
            let seconds = now.saturating_duration_since(at).as_secs_f64().max(0.001);
            let rate = |now: u64, before: u64| {
                (now.saturating_sub(before) as f64 / seconds).min(MOST) as u64
            };
            let done = |document: &Document| document.totals.docs + document.totals.deletes;
            self.rates.push_back(rate(done(&document), done(before)));
            if self.rates.len() > REMEMBERED {
                self.rates.pop_front();
            }
            let of = |document: &Document, slot| -> u64 {
                document.workers.iter().filter(|w| w.slot == slot).map(|w| w.docs).sum()
            };
            // While generations change a slot may stand there twice.
            let slots: BTreeSet<u32> = document.workers.iter().map(|w| w.slot).collect();
            self.workers = slots
                .into_iter()
                .map(|slot| (slot, rate(of(&document, slot), of(before, slot))))
                .collect();
        } else {
            (self.rates, self.workers) = Default::default();
        }
        (self.document, self.at, self.trouble) = (Some(document), Some(now), None);
    }

    fn color(&self, color: Color) -> Style {
        if self.no_color { Style::new() } else { Style::new().fg(color) }
    }

    /// Where there is not room for all, what stands at the end of the page goes first: of Solr's leaders
    /// and the daemon itself one asks last.
    fn draw(&self, frame: &mut Frame<'_>) {
        let (page, rows) = (self.page(), frame.area().height);
        let graph = if rows < LOW.0 { LOW.1 } else { HEIGHT };
        let bars = (self.workers.len() as u16).min(rows / 3);
        let rest = (1 + graph) + bars + 1 + 3; // and a blank line between each
        let text = (page.height() as u16).min(rows.saturating_sub(rest));
        let heights = [
            Constraint::Length(text),
            Constraint::Length(1 + graph),
            Constraint::Min(0),
            Constraint::Length(1),
        ];
        let [text, rates, workers, keys] = Layout::vertical(heights).spacing(1).areas(frame.area());
        frame.render_widget(Paragraph::new(page), text);
        self.draw_rates(frame, rates);
        self.draw_workers(frame, workers);
        frame.render_widget(Line::from("q quits").add_modifier(Modifier::DIM), keys);
    }

    /// The status page, with the health in its colour.
    fn page(&self) -> Text<'static> {
        let mut text = Text::default();
        if let Some(trouble) = &self.trouble {
            let ago = self.at.map_or(0, |at| at.elapsed().as_secs());
            text.push_line(Line::styled(
                format!("NO ANSWER: {}", status::page::plain(trouble)),
                self.color(Color::Red).add_modifier(Modifier::BOLD),
            ));
            text.push_line(Line::from(format!("what follows is {ago} s old")));
        }
        let Some(document) = &self.document else { return text };
        let color = match document.health.state {
            Level::Ok => Color::Green,
            Level::Warning => Color::Yellow,
            Level::Critical => Color::Red,
        };
        for (n, line) in status::page(document).lines().enumerate() {
            let style = match n {
                0 => self.color(color).add_modifier(Modifier::BOLD),
                _ => Style::new(),
            };
            text.push_line(Line::styled(line.to_owned(), style));
        }
        text
    }

    fn draw_rates(&self, frame: &mut Frame<'_>, area: Rect) {
        let [head, graph] =
            Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
        let shown = self.rates.len().saturating_sub(graph.width as usize);
        let rates: Vec<u64> = self.rates.iter().skip(shown).copied().collect();
        let (now, most) = (rates.last().copied().unwrap_or(0), rates.iter().max().copied());
        let text = format!(
            "docs/s    now {}, at most {} in the last {} s",
            status::page::grouped(now),
            status::page::grouped(most.unwrap_or(0)),
            rates.len()
        );
        frame.render_widget(Line::from(text), head);
        let style = self.color(Color::Cyan);
        frame.render_widget(Sparkline::default().data(rates).style(style), graph);
    }

    /// A bar for each worker, beside the fastest.
    fn draw_workers(&self, frame: &mut Frame<'_>, area: Rect) {
        let most = self.workers.iter().map(|(_, rate)| *rate).max().unwrap_or(0).max(1);
        let room = area.width.saturating_sub(LABEL + FIGURE);
        let bars = self.workers.iter().take(area.height.into()).map(|(slot, rate)| {
            let length = (u64::from(room) * rate / most) as usize;
            Line::from(vec![
                format!("worker {slot:<width$}", width = LABEL as usize - 7).into(),
                ratatui::text::Span::styled("█".repeat(length), self.color(Color::Blue)),
                format!(" {} docs/s", status::page::grouped(*rate)).into(),
            ])
        });
        frame.render_widget(Paragraph::new(bars.collect::<Vec<_>>()), area);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    /// A daemon that is well, and has confirmed so many documents, all by its first worker.
    fn document(docs: u64) -> Document {
        let text = include_str!("status/canned/well.json");
        let Ok(status::Answer::Status(mut document)) = status::Answer::parse(text.as_bytes())
        else {
            panic!("a status")
        };
        document.totals.docs = docs;
        document.workers.iter_mut().for_each(|worker| worker.docs = 0);
        document.workers[0].docs = docs;
        *document
    }

    fn shown(view: &View, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| view.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..height).map(|y| row(y).trim_end().to_owned() + "\n").collect()
    }

    #[test]
    fn the_page_the_rates_and_a_bar_for_each_worker_are_shown() {
        let (mut view, begin) = (View::new(false), Instant::now());
        for second in 0..4 {
            let now = begin + Duration::from_secs(second);
            view.take(document(second * second * 1_000), now);
        }
        let text = shown(&view, 80, 40);
        assert!(text.contains("all is well"), "{text}");
        assert!(text.contains("now 5,000, at most 5,000 in the last 3 s"), "{text}");
        assert!(text.contains('█') && text.contains("worker 0"), "{text}");
        assert!(
            text.contains(" 5,000 docs/s\n") && text.contains("worker 1   0 docs/s\n"),
            "{text}"
        );
        assert!(text.ends_with("q quits\n"), "{text}");
    }

    #[test]
    fn a_slot_that_two_generations_have_has_one_bar() {
        let mut view = View::new(true);
        let twice = |docs| {
            let mut document = document(docs);
            let mut old = document.workers[0].clone();
            (old.docs, old.generation) = (100, 0);
            document.workers.push(old);
            document
        };
        let begin = Instant::now();
        view.take(twice(0), begin);
        view.take(twice(500), begin + Duration::from_secs(1));
        assert_eq!(view.workers, [(0, 500), (1, 0), (2, 0), (3, 0)]);
        assert_eq!(shown(&view, 80, 50).matches("worker 0").count(), 1);
    }

    #[test]
    fn an_ordinary_terminal_has_room_from_the_health_to_the_rejects_and_for_each_bar() {
        let mut view = View::new(true);
        view.take(document(0), Instant::now());
        view.take(document(77), Instant::now() + Duration::from_secs(1));
        let text = shown(&view, 80, 24);
        for words in [
            "health ",
            "doing ",
            "behind ",
            "4 of 4 alive",
            "totals ",
            "rejected  nothing",
            "docs/s ",
        ] {
            assert!(text.contains(words), "{words:?}: {text}");
        }
        let bars = text.lines().filter(|line| line.starts_with("worker ")).count();
        assert_eq!((bars, text.lines().last()), (4, Some("q quits")), "{text}");
    }

    /// At a terminal of its own (script(1)): this program once more, which panics there.
    #[test]
    fn a_panic_gives_the_terminal_back_before_it_is_told() {
        const HERE: &str = "watch::tests::a_panic_gives_the_terminal_back_before_it_is_told";
        if std::env::var_os("PANICS_AT_A_TERMINAL").is_some() {
            let _ = with_the_terminal(|_| panic!("a bug"));
            unreachable!("it panics");
        }
        let exe = std::env::current_exe().unwrap();
        let line = format!("{} --exact {HERE} --nocapture; stty -a", exe.display());
        let mut terminal = std::process::Command::new("script");
        terminal.args(["-qec", &line, "/dev/null"]).stdin(std::process::Stdio::null());
        let run = terminal.env("TERM", "xterm").env("PANICS_AT_A_TERMINAL", "1").output().unwrap();
        let text = String::from_utf8_lossy(&run.stdout).into_owned();
        let place = |words: &str| text.find(words).unwrap_or_else(|| panic!("{words:?}: {text}"));
        assert!(place("\x1b[?1049h") < place("\x1b[?1049l"), "{text}");
        assert!(
            place("\x1b[?1049l") < place("a bug") && place("a bug") < place(" icanon "),
            "{text}"
        );
        assert!(text.contains(" echo "), "{text}");
    }

    #[test]
    fn it_fits_whatever_the_terminals_size() {
        let mut view = View::new(true);
        view.take(document(0), Instant::now());
        view.take(document(u64::MAX), Instant::now());
        for (width, height) in [(1, 1), (3, 50), (200, 2), (20, 10), (300, 100)] {
            shown(&view, width, height);
        }
    }

    #[test]
    fn a_daemon_that_does_not_answer_is_told_above_what_it_last_said() {
        let mut view = View::new(true);
        view.take(document(5), Instant::now());
        view.trouble = Some("solr-updater: no daemon\x1b[2J runs there".into());
        let text = shown(&view, 80, 40);
        assert!(text.starts_with("NO ANSWER: solr-updater: no daemon?[2J runs there\n"), "{text}");
        assert!(text.contains("all is well"), "{text}");
        // Another daemon: its counts begin anew.
        let mut other = document(7);
        other.parent.pid += 1;
        view.take(other, Instant::now());
        assert!(view.rates.is_empty() && view.trouble.is_none());
    }

    #[test]
    fn without_colours_there_are_none() {
        for no_color in [false, true] {
            let mut view = View::new(no_color);
            view.take(document(0), Instant::now());
            let mut terminal = Terminal::new(TestBackend::new(80, 30)).unwrap();
            terminal.draw(|frame| view.draw(frame)).unwrap();
            let buffer = terminal.backend().buffer();
            let colored = buffer.content().iter().any(|cell| cell.fg != Color::Reset);
            assert_eq!(colored, !no_color);
        }
    }
}
