/**
 * Measures the constants of src/ops/conv/costs.ts on this machine and prints them: npx node scripts/measure-conv-costs.ts
 * Run it on a quiet machine; it takes half a minute.
 */
import { resolve } from 'node:path';
import { runnerImport } from 'vite';

await runnerImport(resolve(import.meta.dirname, '../src/ops/conv/measure-costs.ts'));
