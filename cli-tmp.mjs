import { writeSafetensors, readSafetensors, hostTensor } from './dist/index.mjs';
import { writeFileSync, readFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
const r = (shape, f) => hostTensor(Float32Array.from({ length: shape.reduce((a, b) => a * b) }, f), shape);
const s = (i) => Math.sin(i * 12.9898) ;
const t = { q: r([1, 60, 2, 5], (_, i) => s(i)), k: r([1, 60, 2, 5], (_, i) => s(i + 3) / 2), v: r([1, 60, 2, 7], (_, i) => s(i + 9)), g: r([1, 60, 2], (_, i) => -Math.abs(s(i))), beta: r([1, 60, 2], (_, i) => Math.abs(s(i + 1))), initial_state: r([1, 2, 5, 7], (_, i) => s(i)), grad_out: r([1, 60, 2, 7], (_, i) => s(i)) };
writeFileSync('/tmp/delta/in.safetensors', writeSafetensors(t));
for (const b of ['wasm', 'reference']) console.log(execFileSync('node', ['dist/cli/bin.mjs', 'run', 'gated-delta-rule', '--in', '/tmp/delta/in.safetensors', '--out', `/tmp/delta/${b}.safetensors`, '--grad', '--backend', b], { encoding: 'utf8' }));
const [a, b] = ['wasm', 'reference'].map((x) => readSafetensors(readFileSync(`/tmp/delta/${x}.safetensors`)));
for (const n of Object.keys(a)) console.log(n, Math.max(...a[n].data.map((x, i) => Math.abs(x - b[n].data[i]))));
t.g.data[5] = NaN; writeFileSync('/tmp/delta/in.safetensors', writeSafetensors(t));
try { execFileSync('node', ['dist/cli/bin.mjs', 'run', 'gated-delta-rule', '--in', '/tmp/delta/in.safetensors', '--out', '/tmp/delta/x.safetensors', '--grad'], { encoding: 'utf8' }); } catch (e) { console.log(e.status, e.stderr); }
