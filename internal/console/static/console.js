// The console: one stream of the admin API drawn as it comes. Nothing is decided here. Text
// from the node is only ever set as text, never as markup.

const $ = (id) => document.getElementById(id);
const staleAfter = 5000; // ms without a status before the page says so
let lastStatus = 0; // when the newest status came
let trouble = 'connecting'; // why there is no stream now; empty while there is one
let token = sessionStorage.getItem('token') || '';

const headers = () => (token ? { Authorization: `Bearer ${token}` } : {});
const percent = (share) => `${(share * 100).toFixed(1)}%`;

// span says how long something took or takes, in at most two units.
function span(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m${s % 60}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h${Math.floor((s % 3600) / 60)}m`;
  return `${Math.floor(s / 86400)}d${Math.floor((s % 86400) / 3600)}h`;
}
const since = (now, then) => span(new Date(now) - new Date(then));

function cell(text, className) {
  const td = document.createElement('td');
  td.textContent = text;
  if (className) td.className = className;
  return td;
}

function row(...cells) {
  const tr = document.createElement('tr');
  tr.append(...cells);
  return tr;
}

// bar shows the actual share as a fill and the target as a tick. Widths are set as properties:
// the page's policy allows no style in markup.
function bar(target, actual) {
  const td = cell('', 'bar');
  const box = document.createElement('div');
  const fill = document.createElement('i');
  const tick = document.createElement('b');
  fill.style.width = percent(actual);
  tick.style.left = percent(Math.min(target, 0.995));
  tick.hidden = target === 0;
  box.title = `target ${percent(target)}, actual ${percent(actual)}`;
  box.setAttribute('role', 'img');
  box.setAttribute('aria-label', box.title);
  box.append(fill, tick);
  td.append(box);
  return td;
}

function drawHost(status, host) {
  const box = document.createElement('div');
  const title = document.createElement('h2');
  title.textContent = host.host;
  const note = document.createElement('small');
  note.textContent = `  ttl ${host.ttl_seconds}s, reason: ${host.reason}`;
  title.append(note);
  const table = document.createElement('table');
  const head = document.createElement('thead');
  const names = ['backend', 'pool', 'target', 'actual, 1 min', '', 'state', 'since', 'latency', 'measured', 'why'];
  head.append(row(...names.map((n) => {
    const th = document.createElement('th');
    th.textContent = n;
    if (/target|actual|latency/.test(n)) th.className = 'number';
    return th;
  })));
  const body = document.createElement('tbody');
  for (const b of host.backends || []) {
    const d = status.backends.find((x) => x.name === b.backend) || {};
    body.append(row(cell(b.backend, 'name'), cell(b.pool), cell(percent(b.target), 'number'),
      cell(percent(b.actual), 'number'), bar(b.target, b.actual), cell(d.state || '', d.state),
      cell(d.since ? since(status.now, d.since) : '', 'when'),
      cell(`${(d.latency_ms || 0).toFixed(1)} ms`, 'number'),
      cell(d.last_sample ? `${since(status.now, d.last_sample)} ago` : 'never', 'when'),
      cell(d.reason || '', 'why')));
  }
  table.append(head, body);
  const card = document.createElement('div');
  card.className = 'card';
  card.append(table);
  box.append(title, card);
  return box;
}

function drawStatus(s) {
  lastStatus = Date.now();
  $('content').hidden = false;
  const store = s.store.reachable ? `store ${s.store.kind}`
    : `store ${s.store.kind} OUT OF REACH for ${since(s.now, s.store.since)}`;
  $('node').textContent = `node ${s.node}, ${s.ready ? 'ready' : 'NOT READY'}, table ${s.table_version} `
    + `(${s.table_hash.slice(0, 12)}) compiled ${since(s.now, s.table_compiled)} ago, `
    + `config ${s.config_hash.slice(0, 12)}, ${store}`;
  $('warnings').replaceChildren(...(s.warnings || []).map((w) => {
    const li = document.createElement('li');
    li.textContent = w;
    return li;
  }));
  $('hosts').replaceChildren(...(s.hosts || []).map((h) => drawHost(s, h)));
  if (!$('explain-name').value && s.hosts && s.hosts.length) $('explain-name').value = s.hosts[0].host;
  const rows = (s.overrides || []).map((o) => row(
    cell(o.kind === 'weight' ? `weight ${o.weight || 0}` : o.kind), cell(o.backend), cell(o.host || 'all'),
    cell(`in ${span(new Date(o.expires) - new Date(s.now))}`, 'when'), cell(o.actor), cell(o.local ? `${o.reason} (on this node only)` : o.reason)));
  if (s.drill) rows.unshift(row(cell('drill'), cell(s.drill.backend), cell('all'), cell(s.drill.state), cell(s.drill.actor), cell(s.drill.message || '')));
  if (!rows.length) {
    rows.push(row(cell('none in force')));
    rows[0].cells[0].colSpan = 6;
  }
  $('overrides').tBodies[0].replaceChildren(...rows);
}

function drawEvent(e) {
  const body = $('events').tBodies[0];
  body.prepend(row(cell(new Date(e.at).toISOString().slice(11, 19), 'when'), cell(e.kind), cell(e.message)));
  while (body.rows.length > 50) body.deleteRow(-1);
}

function take(block) {
  let name = '';
  let data = '';
  for (const line of block.split('\n')) {
    if (line.startsWith('event: ')) name = line.slice(7);
    if (line.startsWith('data: ')) data += line.slice(6);
  }
  if (name === 'status') drawStatus(JSON.parse(data));
  if (name === 'event') drawEvent(JSON.parse(data));
}

// read draws the stream until it ends. EventSource cannot send a token, so it is read by hand.
async function read() {
  const res = await fetch('v1/stream', { headers: headers() });
  if (res.status === 401 || res.status === 403) {
    $('login').hidden = false;
    $('content').hidden = true;
    $('node').textContent = '';
    $('login-note').textContent = token ? 'that token may not read here' : '';
    sessionStorage.removeItem('token');
    trouble = 'a token is needed';
    return false;
  }
  if (!res.ok) throw new Error(`the node answers ${res.status}`);
  $('login').hidden = true;
  $('links').hidden = token !== ''; // a plain link carries no token
  trouble = '';
  $('events').tBodies[0].replaceChildren();
  const reader = res.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return true;
    rest += value;
    const blocks = rest.split('\n\n');
    rest = blocks.pop();
    blocks.forEach(take);
  }
}

async function follow() {
  for (;;) {
    try {
      if (!await read()) return; // until somebody gives a token
      trouble = 'no connection: the node ended it';
    } catch (err) {
      trouble = `no connection: ${err.message}`;
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

// drawLive says whether what the page shows is how things are.
function drawLive() {
  const age = lastStatus ? Date.now() - lastStatus : 0;
  const old = age > staleAfter ? `what you see is ${span(age)} old` : '';
  $('live').textContent = [trouble, old].filter(Boolean).join('; ') || 'live';
  $('live').className = trouble || old ? 'stale' : 'live';
  $('content').className = trouble || old ? 'old' : '';
}
setInterval(drawLive, 250);

$('login').addEventListener('submit', (e) => {
  e.preventDefault();
  token = $('token').value;
  $('token').value = '';
  sessionStorage.setItem('token', token);
  follow();
});

// explain asks the node and returns what to show.
async function explain(name, client) {
  const res = await fetch(`v1/explain?${new URLSearchParams({ name, client })}`, { headers: headers() });
  const x = await res.json();
  if (!res.ok) return x.detail || x.title;
  const lines = x.steps.map((s, i) => {
    const inputs = (s.inputs || []).map((n) => {
      const old = n.at ? `, ${since(x.now, n.at)} old` : '';
      return `\n     ${n.name} = ${n.value}  (${n.source}${old})`;
    }).join('');
    return `${i + 1}. ${s.what}: ${s.detail}${inputs}`;
  });
  return `${lines.join('\n')}\n\nanswer: ${x.backend} (${x.answer.join(' ')}), ttl ${x.ttl_seconds}s, reason ${x.reason}`;
}

$('explain').addEventListener('submit', async (e) => {
  e.preventDefault();
  try {
    $('explanation').textContent = await explain($('explain-name').value, $('explain-client').value);
  } catch (err) {
    $('explanation').textContent = `no answer: ${err.message}`;
  }
});

follow();
