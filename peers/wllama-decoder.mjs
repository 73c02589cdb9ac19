/** wllama, llama.cpp on WebAssembly, in a headless Chromium: it takes texts, in which each token of these decoders has a word. */
import { spawn } from 'node:child_process';
import { createReadStream, mkdtempSync } from 'node:fs';
import { createServer } from 'node:http';
import { dirname, extname, join } from 'node:path';

const FILES = join(import.meta.dirname, 'node_modules/@wllama/wllama/esm');
const TYPES = { '.js': 'text/javascript', '.wasm': 'application/wasm', '.html': 'text/html' };
/** Steps of a call, beside the reading of the prompt's last token. */
const STEPS = 7;

const PAGE = `<script type="module">
import { Wllama } from '/wllama/index.js';
const post = (value) => fetch('/answer', { method: 'POST', body: JSON.stringify(value) });
try {
  const settings = await (await fetch('/settings')).json();
  const wllama = new Wllama({ default: '/wllama/wasm/wllama.wasm' });
  wllama.setCompat(null);
  await wllama.loadModel([await (await fetch('/model')).blob()], settings);
  await post({ threads: wllama.getNumThreads() });
  for (;;) {
    const question = await (await fetch('/question')).json();
    await post(await wllama.createCompletion(question));
  }
} catch (error) {
  await post({ error: String(error?.message ?? error) });
}
</script>`;

export function open({ threads }) {
  return { threads, prepare: (problem) => prepare(threads, problem) };
}

async function prepare(threads, { file, kind, n, checked, config, tokens }) {
  const words = Array.from(tokens, (token) => `<${token}>`);
  const page = await openPage(file, {
    n_ctx: Math.max(n, checked) + 2 * STEPS + 8,
    n_batch: 512,
    n_threads: threads,
    n_gpu_layers: 0,
    flash_attn: true,
    warmup: false,
  });
  const complete = (count, more) =>
    page.ask({ prompt: words.slice(0, count).join(''), temperature: 0, ignore_eos: true, ...more });
  const found = [];
  for (const count of [checked, checked + 1]) {
    const numbers = new Float32Array(config.vocab_size).fill(-Infinity);
    const { choices } = await complete(count, { max_tokens: 1, logprobs: config.vocab_size });
    const { content, top_logprobs: told = content[0].top_logprobs } = choices[0].logprobs;
    for (const { id, logprob } of told) numbers[id] = logprob;
    found.push(numbers);
  }
  const length = kind === 'step' ? Math.max(n, 1) : n;
  if (kind === 'step') await complete(length, { max_tokens: 1, cache_prompt: true });
  return {
    products: kind === 'step' ? STEPS + 1 : 1,
    run: () =>
      kind === 'step'
        ? complete(length, { max_tokens: STEPS + 1, cache_prompt: true })
        : complete(length, { max_tokens: 1, cache_prompt: false }),
    result: async () => Float32Array.from(found.flatMap((numbers) => [...numbers])),
  };
}

/** A page that has loaded the model, and completes what it is asked for. */
async function openPage(file, settings) {
  let question;
  let answer;
  const server = createServer((request, response) => {
    const { url } = request;
    response.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
    response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp');
    const send = (path) => {
      response.setHeader('Content-Type', TYPES[extname(path)] ?? 'application/octet-stream');
      createReadStream(path)
        .on('error', () => response.writeHead(404).end())
        .pipe(response);
    };
    if (url === '/') return response.setHeader('Content-Type', TYPES['.html']).end(PAGE);
    if (url === '/settings') return response.end(JSON.stringify(settings));
    if (url === '/model') return send(file);
    if (url === '/question') {
      question = response;
      return;
    }
    if (url === '/answer') {
      const parts = [];
      request.on('data', (part) => parts.push(part));
      return request.on('end', () => {
        response.end();
        answer(JSON.parse(Buffer.concat(parts)));
      });
    }
    send(join(FILES, url.replace('/wllama/', '')));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const next = () =>
    new Promise((resolve, reject) => {
      answer = (value) => (value.error ? reject(new Error(`wllama: ${value.error}`)) : resolve(value));
    });
  const profile = mkdtempSync(join(dirname(file), 'chromium-'));
  const address = `http://127.0.0.1:${server.address().port}/`;
  // It ends when its pipes do, however this process ends.
  const child = spawn(
    process.env.CHROMIUM ?? 'chromium',
    ['--headless=new', '--no-sandbox', '--remote-debugging-pipe', `--user-data-dir=${profile}`, address],
    { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] },
  );
  child.on('error', (error) => answer({ error: error.message }));
  await next();
  return {
    async ask(asked) {
      // The page may not have asked yet for what comes next.
      while (!question) await new Promise((resolve) => setTimeout(resolve, 5));
      const told = next();
      question.end(JSON.stringify(asked));
      question = undefined;
      return told;
    },
  };
}
