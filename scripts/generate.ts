import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundle } from './bundle.ts';
import { generateConstants } from './generate-constants.ts';
import { generateOperations } from './generate-operations.ts';
import { generateParams } from './generate-params.ts';

const WORKERS = ['src/runtime/wasm/worker.ts', 'src/models/language-model/worker.ts'];

/**
 * Generates what kernels share with the library, and bundles the workers' scripts as strings into worker.generated.ts beside
 * them, so that pages may start them whatever bundled them.
 */
export async function generate(root: string): Promise<void> {
  await generateParams(root);
  generateConstants(root);
  generateOperations(root);
  for (const worker of WORKERS) {
    const { code, notices } = await bundle(join(root, worker), 'iife');
    const kept = notices && `/*!\n${notices}\n*/\n`;
    writeFileSync(
      join(root, worker.replace('.ts', '.generated.ts')),
      `export const source = ${JSON.stringify(`${kept}${code.trim()}`)};\n`,
    );
  }
}
