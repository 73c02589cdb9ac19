/**
 * Writes the interpreters' operations, runtime/wasm/assembly/operations.generated.as.ts: a function `operate` with a loop
 * over rows of vectors for each operation, so that none is chosen within a loop. It is a module (ops/map/map-operations.as.ts)
 * that others call (operate.as.ts).
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { upperCase } from './generate-params.ts';

/** What operations (expressions/params.ts) compute of vectors x, y and z; functions are those of operations.as.ts. */
const OPERATIONS: Readonly<Record<string, string>> = {
  select: 'v128.bitselect(y, z, x)',
  copy: 'x',
  toFloat: 'f32x4.convert_i32x4_s(x)',
  toInteger: 'i32x4.trunc_sat_f32x4_s(x)',
  not: 'v128.not(x)',
  negative: 'f32x4.neg(x)',
  abs: 'f32x4.abs(x)',
  sign: 'sign(x)',
  floor: 'f32x4.floor(x)',
  ceil: 'f32x4.ceil(x)',
  trunc: 'f32x4.trunc(x)',
  round: 'round(x)',
  sqrt: 'f32x4.sqrt(x)',
  log: 'log(x)',
  log1p: 'logOnePlus(x)',
  rsqrt: 'f32x4.div(f32x4.splat(1), f32x4.sqrt(x))',
  cos: 'angular(COS, x)',
  sin: 'angular(SIN, x)',
  'integer negative': 'i32x4.neg(x)',
  'integer abs': 'i32x4.abs(x)',
  'integer sign': 'i32x4.sub(i32x4.lt_s(x, i32x4.splat(0)), i32x4.gt_s(x, i32x4.splat(0)))',
  and: 'v128.and(x, y)',
  or: 'v128.or(x, y)',
  xor: 'v128.xor(x, y)',
  less: 'f32x4.lt(x, y)',
  lessOrEqual: 'f32x4.le(x, y)',
  equal: 'f32x4.eq(x, y)',
  'integer add': 'i32x4.add(x, y)',
  'integer subtract': 'i32x4.sub(x, y)',
  'integer multiply': 'i32x4.mul(x, y)',
  'integer min': 'i32x4.min_s(x, y)',
  'integer max': 'i32x4.max_s(x, y)',
  'integer less': 'i32x4.lt_s(x, y)',
  'integer lessOrEqual': 'i32x4.le_s(x, y)',
  'integer equal': 'i32x4.eq(x, y)',
  'divide floor': 'quotient(DIVIDE_FLOOR, x, y)',
  'divide ceil': 'quotient(DIVIDE_CEIL, x, y)',
  'divide trunc': 'quotient(DIVIDE_TRUNC, x, y)',
  'integer remainder': 'i32x4.sub(x, i32x4.mul(quotient(DIVIDE_TRUNC, x, y), y))',
  shiftLeft: 'eachPair(SHIFT_LEFT, x, y)',
  shiftRight: 'eachPair(SHIFT_RIGHT, x, y)',
  shiftRightUnsigned: 'eachPair(SHIFT_RIGHT_UNSIGNED, x, y)',
  remainder: 'eachPair(REMAINDER, x, y)',
  power: 'eachPair(POWER, x, y)',
};

/** What most programs consist of: four vectors at a time. */
const ARITHMETIC = {
  add: 'f32x4.add',
  subtract: 'f32x4.sub',
  multiply: 'f32x4.mul',
  divide: 'f32x4.div',
  min: 'f32x4.min',
  max: 'f32x4.max',
};

/** Functions with an exponential (functions.as.ts), and their reach. */
const EXPONENTIALS = {
  exp: ['exp', 'EXP_REACH'],
  expm1: ['expMinusOne', 'EXP_REACH'],
  sigmoid: ['sigmoid', 'EXP_REACH'],
  sigmoidSlope: ['sigmoidSlope', 'EXP_REACH'],
  softplus: ['softplus', 'EXP_REACH'],
  tanh: ['tanh', 'TANH_REACH'],
  erf: ['erf', 'TANH_REACH'],
  normalCdf: ['normalCdf', 'TANH_REACH'],
} as const;

export function generateOperations(root: string): void {
  const cases = [
    ...Object.entries(OPERATIONS).map(([name, value]) => branch(name, loop(value))),
    ...Object.entries(ARITHMETIC).map(([name, instruction]) => branch(name, arithmetic(instruction))),
    ...Object.entries(EXPONENTIALS).map(([name, [f]]) =>
      branch(name, `${f}Rows(rows, vectors, out, or, ol, a, ar, al);`),
    ),
  ];
  const functions = Object.values(EXPONENTIALS).map(([f, reach]) => exponential(f, reach));
  const text = `import {
  areSmall, ${EXPONENTIAL_NAMES.join(', ')}, log, logOnePlus,
} from './functions.as';
import { EXP_REACH, TANH_REACH } from './constants.generated.as';
import { angular, eachPair, quotient, round, sign } from './operations.as';
import { ${CODES.join(', ')} } from '../../../expressions/params.generated.as';

/** \`operation\` of a, b and c, as many as it takes, to out: bytes from a row to the next end in r, from a vector in l. */
export function operate(
  operation: i32, rows: i32, vectors: i32, out: usize, or: usize, ol: usize,
  a: usize, ar: usize, al: usize, b: usize, br: usize, bl: usize, c: usize, cr: usize, cl: usize,
): void {
  // Rows that follow each other are one.
  const n = <usize>vectors;
  if (or == n * ol && ar == n * al && br == n * bl && cr == n * cl) {
    vectors *= rows;
    rows = 1;
  }
  switch (operation) {
${cases.join('\n')}
    default:
      unreachable();
  }
}

${functions.join('\n\n')}
`;
  writeFileSync(join(root, 'src/runtime/wasm/assembly/operations.generated.as.ts'), text);
}

const EXPONENTIAL_NAMES = Object.values(EXPONENTIALS).map(([f]) => f);
const CODES = [OPERATIONS, ARITHMETIC, EXPONENTIALS].flatMap((table) => Object.keys(table).map(upperCase));

const branch = (name: string, body: string) => `    case ${upperCase(name)}: {
      ${body.replaceAll('\n', '\n      ')}
      break;
    }`;

/** A vector at a time. */
function loop(value: string): string {
  const operands = [
    ['x', 'a'],
    ['y', 'b'],
    ['z', 'c'],
  ].filter(([vector]) => new RegExp(`\\b${vector}\\b`).test(value));
  const each = (of: (vector: string, operand: string) => string) =>
    operands.map(([x, a]) => of(x as string, a as string));
  return `for (let r: i32 = 0; r < rows; r++) {
  let to = out;
  ${each((x, a) => `let ${x}At = ${a};`).join(' ')}
  for (let v: i32 = 0; v < vectors; v++) {
    ${each((x) => `const ${x} = v128.load(${x}At);`).join(' ')}
    v128.store(to, ${value});
    to += ol;
    ${each((x, a) => `${x}At += ${a}l;`).join(' ')}
  }
  out += or;
  ${each((_, a) => `${a} += ${a}r;`).join(' ')}
}`;
}

/** In a loop for each way in which an operand repeats. */
function arithmetic(instruction: string): string {
  const four = (x: (offset: number) => string, y: (offset: number) => string, step: string) =>
    `  for (; left >= 4; left -= 4, to += 64, ${step}) {
      ${[0, 16, 32, 48].map((at) => `const v${at} = ${instruction}(${x(at)}, ${y(at)});`).join('\n      ')}
      ${[0, 16, 32, 48].map((at) => `v128.store(to, v${at}, ${at});`).join('\n      ')}
    }`;
  const load = (place: string) => (at: number) => `v128.load(${place}, ${at})`;
  const repeated = () => 'repeated';
  return `for (let r: i32 = 0; r < rows; r++) {
  let to = out;
  let x = a;
  let y = b;
  let left = vectors;
  if (al && bl) {
  ${four(load('x'), load('y'), 'x += 64, y += 64')}
  } else if (al) {
    const repeated = v128.load(y);
  ${four(load('x'), repeated, 'x += 64')}
  } else if (bl) {
    const repeated = v128.load(x);
  ${four(repeated, load('y'), 'y += 64')}
  }
  for (; left > 0; left--) {
    v128.store(to, ${instruction}(v128.load(x), v128.load(y)));
    to += ol;
    x += al;
    y += bl;
  }
  out += or;
  a += ar;
  b += br;
}`;
}

/** Two vectors at a time, which share the constants, where both are small. */
function exponential(f: string, reach: string): string {
  return `function ${f}Rows(
  rows: i32, vectors: i32, out: usize, or: usize, ol: usize, a: usize, ar: usize, al: usize,
): void {
  for (let r: i32 = 0; r < rows; r++) {
    let to = out;
    let x = a;
    let left = vectors;
    while (left > 0) {
      let first = v128.load(x);
      if (left > 1) {
        let second = v128.load(x + al);
        if (areSmall(first, second, ${reach})) {
          first = ${f}(first, true);
          second = ${f}(second, true);
          v128.store(to, first);
          v128.store(to + ol, second);
          to += 2 * ol;
          x += 2 * al;
          left -= 2;
          continue;
        }
      }
      v128.store(to, ${f}(first, false));
      to += ol;
      x += al;
      left--;
    }
    out += or;
    a += ar;
  }
}`;
}
