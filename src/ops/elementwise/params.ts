import { struct } from '../../runtime/wasm/struct';

export { BINARY, UNARY } from './call';

/** Elements of a task. */
export const RUN = 16384;

export const UnaryParams = struct({
  ...{ operation: 'i32', exponent: 'i32', size: 'usize' },
  ...{ x: 'tensor', gradOut: 'tensor', out: 'tensor' },
});

export const BinaryParams = struct({
  ...{ operation: 'i32', size: 'usize', period: 'usize', stretch: 'usize' },
  ...{ a: 'tensor', b: 'tensor', out: 'tensor' },
});
