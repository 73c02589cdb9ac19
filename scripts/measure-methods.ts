/**
 * Measures methods beside exact attention, all or those named, and stores it in docs/times/ under the machine's name, where
 * the atlas finds it: npx node scripts/measure-methods.ts wasm|webgpu [METHOD...]
 * Run it on a quiet machine; it takes a minute or two.
 */
import { resolve } from 'node:path';
import { runnerImport } from 'vite';

await runnerImport(resolve(import.meta.dirname, '../atlas/measure.ts'));
process.exit();
