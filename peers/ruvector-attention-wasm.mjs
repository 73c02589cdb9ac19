/**
 * ruvector-attention-wasm takes one query vector and the keys and values it sees as arrays of vectors, so attention is
 * one call per head and query. It has no threads.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { initSync, scaled_dot_attention } from 'ruvector-attention-wasm';
import { sees } from './mask.mjs';

export function open() {
  const module = createRequire(import.meta.url).resolve('ruvector-attention-wasm/ruvector_attention_wasm_bg.wasm');
  initSync({ module: readFileSync(module) });
  return { threads: 1, prepare };
}

function prepare(problem) {
  const { n, h, d } = problem;
  const rows = (data) =>
    Array.from({ length: h }, (_, head) =>
      Array.from({ length: n }, (_, i) => Array.from(data.subarray((i * h + head) * d, (i * h + head + 1) * d))),
    );
  const [queries, keys, values] = [problem.q, problem.k, problem.v].map(rows);
  const seen = Array.from({ length: n }, (_, i) => {
    const inside = Array.from({ length: n }, (_, j) => j).filter((j) => sees(i, j, problem));
    return [inside[0], inside.at(-1) + 1];
  });
  const out = new Float32Array(n * h * d);
  return {
    run() {
      for (let head = 0; head < h; head++) {
        for (let i = 0; i < n; i++) {
          const row = scaled_dot_attention(
            queries[head][i],
            keys[head].slice(...seen[i]),
            values[head].slice(...seen[i]),
          );
          out.set(row, (i * h + head) * d);
        }
      }
    },
    result: () => out,
  };
}
