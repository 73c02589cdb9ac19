/** Functions of each element on its own, and their derivatives. */
import { UnsupportedError } from '../../../errors';
import type { Binary, BinaryCall, UnaryBackwardCall, UnaryCall } from '../../backend';
import { type Kernel, variants } from '../kernel';
import type { Plan, Workspace } from '../queue';

const INVOCATIONS = 64;

const BINARY: Readonly<Record<Binary, string>> = { add: 'a + b', subtract: 'a - b', multiply: 'a * b' };

const binaryKernel = variants(
  (operation: Binary): Kernel => ({
    name: operation,
    invocations: INVOCATIONS,
    operands: { a: { access: 'read' }, b: { access: 'read' }, out: { access: 'write' } },
    numbers: { size: 'u32', period: 'u32', stretch: 'u32' },
    body: `
fn run(task: u32, lane: u32) {
  let i = task * ${INVOCATIONS} + lane;
  if (i >= numbers.size) { return; }
  let a = load_a(i);
  let b = load_b((i / numbers.stretch) % numbers.period);
  store_out(i, ${BINARY[operation]});
}`,
  }),
);

export function planBinary({ operation, a, b, stretch, out }: BinaryCall): Plan {
  return {
    dispatches: [
      {
        kernel: binaryKernel(operation),
        operands: { a, b, out },
        numbers: { size: a.size, period: b.size, stretch },
        tasks: Math.ceil(a.size / INVOCATIONS),
        operations: a.size,
      },
    ],
  };
}

export function planUnary(_call: UnaryCall, _workspace: Workspace): Plan {
  throw new UnsupportedError('no WebGPU kernel yet');
}

export function planUnaryBackward(_call: UnaryBackwardCall, _workspace: Workspace): Plan {
  throw new UnsupportedError('no WebGPU kernel yet');
}
