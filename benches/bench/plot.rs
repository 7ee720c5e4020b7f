//! docs/bench.svg: documents a second, a bar for each contender, one panel for each file.

use std::fmt::Write as _;

use crate::results::round;

/// A bar.
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) value: f64,
    pub(crate) kind: Kind,
}

/// How a bar looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    Peer,
    Ceiling,
}

const WIDTH: usize = 720;
const LABELS: usize = 250;
const BARS: f64 = 370.0;
const ROW: usize = 24;
const TITLE: usize = 34;

/// Panels one below the other: a title and its bars. It is read on white and on black.
pub(crate) fn draw(title: &str, panels: &[(String, Vec<Bar>)]) -> String {
    let rows: usize = panels.iter().map(|(_, bars)| bars.len()).sum();
    let height = 12 + panels.len() * TITLE + rows * ROW;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{}">
<style>
text {{ font: 13px system-ui, sans-serif; fill: #1f2328 }}
.head {{ font-weight: 600 }} .label {{ text-anchor: end }}
.ours {{ fill: #1a7f37 }} .peer {{ fill: #8c959f }} .ceiling {{ fill: none; stroke: #8c959f; stroke-dasharray: 4 3 }}
@media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3 }} .ours {{ fill: #3fb950 }} .peer {{ fill: #6e7681 }} .ceiling {{ stroke: #8b949e }} }}
</style>
"##,
        escaped(title)
    );
    let mut y = 0;
    for (name, bars) in panels {
        let _ =
            writeln!(svg, r#"<text class="head" x="8" y="{}">{}</text>"#, y + 22, escaped(name));
        y += TITLE;
        let most = bars.iter().map(|bar| bar.value).fold(1.0, f64::max);
        for bar in bars {
            let width = (bar.value / most * BARS).max(1.0);
            let class = match bar.kind {
                Kind::Ours => "ours",
                Kind::Peer => "peer",
                Kind::Ceiling => "ceiling",
            };
            let _ = writeln!(
                svg,
                r#"<text class="label" x="{}" y="{}">{}</text><rect class="{class}" x="{LABELS}" y="{}" width="{width:.0}" height="16"/><text x="{:.0}" y="{}">{}</text>"#,
                LABELS - 8,
                y + 13,
                escaped(&bar.label),
                y,
                LABELS as f64 + width + 8.0,
                y + 13,
                round(bar.value)
            );
            y += ROW;
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
