/** The format of programs, for the compiler (program.ts) and the interpreters. */

/** Numbers in an instruction, and in the header before the first. */
export const INSTRUCTION_LENGTH = 6;
export const HEADER_LENGTH = 2;

/**
 * The low bits of an operand: which dimensions it has, queries and keys (elements of a tensor are lanes), and whether it
 * is not in a register but among the scores, tensors or results, in which case the bits above say which one.
 */
export const LANES = 1;
export const ROWS = 2;
export const SCORE = 4;
export const OUT = 8;

/** Elements of a map that an interpreter takes at once, and its registers of such blocks and of single vectors. */
export const BLOCK = 1024;
export const BLOCK_REGISTERS = 32;
export const VECTOR_REGISTERS = 64;

/** Keys that an interpreter takes at once, against 24 queries. */
export const CHUNK = 12;
/** Bytes of a number for each query. */
export const ROW_BYTES = 96;
/** Registers of values that are the same for all keys of a tile, and of others. */
export const TILE_REGISTERS = 64;
export const CHUNK_REGISTERS = 24;

export const INSTRUCTIONS = [
  ...['constant', 'number', 'integer number', 'batch', 'head', 'queries', 'keys', 'read', 'lookup'],
  ...['copy', 'toFloat', 'toInteger'],
  ...['select', 'not', 'and', 'or', 'xor'],
  ...['add', 'subtract', 'multiply', 'divide', 'min', 'max', 'less', 'lessOrEqual', 'equal'],
  ...['negative', 'abs', 'sign', 'floor', 'ceil', 'trunc', 'round', 'sqrt', 'exp', 'log', 'tanh', 'cos', 'sin'],
  ...['expm1', 'log1p', 'sigmoid', 'sigmoidSlope', 'softplus', 'erf', 'normalCdf', 'rsqrt'],
  ...['remainder', 'power'],
  ...['integer add', 'integer subtract', 'integer multiply', 'integer min', 'integer max'],
  ...['integer less', 'integer lessOrEqual', 'integer equal', 'integer negative', 'integer abs', 'integer sign'],
  ...['divide floor', 'divide ceil', 'divide trunc', 'integer remainder'],
  ...['shiftLeft', 'shiftRight', 'shiftRightUnsigned'],
];
