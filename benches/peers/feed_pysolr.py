"""pysolr as somebody would use it who has to feed JSON lines: threads, batches, a client for each.

usage: feed_pysolr.py FILE URL[,URL...] COLLECTION THREADS BATCH

It prints "end {...}" when the last answer is there; it does not commit.
"""
import json
import queue
import sys
import threading
import time

import pysolr

file, urls, collection, threads, batch = sys.argv[1:6]
urls, threads, batch = urls.split(','), int(threads), int(batch)
lines = queue.Queue(maxsize=16)
done = [0] * threads
errors = []


def work(k):
    solr = pysolr.Solr('%s/%s' % (urls[k % len(urls)], collection), timeout=600, always_commit=False)
    while True:
        some = lines.get()
        if some is None:
            return
        try:
            docs, deletes = [], []
            for line in some:
                doc = json.loads(line)
                if 'delete' in doc and len(doc) == 1:
                    deletes.append(doc['delete']['id'])
                else:
                    docs.append(doc)
            if docs:
                solr.add(docs, commit=False)
            if deletes:
                solr.delete(id=deletes, commit=False)
            done[k] += len(some)
        except Exception as e:  # whatever it is, the file goes on, and it is told at the end
            errors.append(e)


start = time.time()
workers = [threading.Thread(target=work, args=(k,)) for k in range(threads)]
for worker in workers:
    worker.start()
some = []
with open(file, encoding='utf-8') as f:
    for line in f:
        some.append(line)
        if len(some) == batch:
            lines.put(some)
            some = []
if some:
    lines.put(some)
for worker in workers:
    lines.put(None)
for worker in workers:
    worker.join()
for e in errors[:1]:
    print('first error:', e, file=sys.stderr)
print('end', json.dumps({'docs': sum(done), 'seconds': time.time() - start, 'errors': len(errors)}))
sys.exit(1 if errors else 0)
