/** Writes the constants of the elementary functions, runtime/wasm/assembly/constants.generated.as.ts: places, and what fills them. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CONSTANTS } from '../src/code/constants.ts';

/** The address of the constants, after those of vector.as.ts and before the params. */
const FIRST = 1280;

export function generateConstants(root: string): void {
  let place = 0;
  const lines = Object.entries(CONSTANTS).flatMap(([name, value]) => [
    `export const ${name}: usize = ${place};`,
    ...[value].flat().map((x) => `v128.store(${FIRST + 16 * place++}, f32x4.splat(${Object.is(x, -0) ? '-0.0' : x}));`),
  ]);
  const text = `export const CONSTANTS: usize = ${FIRST};\n${lines.join('\n')}\n`;
  writeFileSync(join(root, 'src/runtime/wasm/assembly/constants.generated.as.ts'), text);
}
