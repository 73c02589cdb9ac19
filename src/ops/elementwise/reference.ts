import type { Host } from '../op';
import type { BinaryCall, UnaryBackwardCall, UnaryCall } from './call';
import { BINARY_FUNCTIONS, UNARY_FUNCTIONS } from './functions';

export function unary({ operation, exponent, x, out }: UnaryCall, { numbers, store }: Host): void {
  const { value } = UNARY_FUNCTIONS[operation];
  store(
    out,
    numbers(x).map((each) => value(each, exponent)),
  );
}

export function unaryBackward({ operation, exponent, x, gradOut, out }: UnaryBackwardCall, host: Host): void {
  const { derivative } = UNARY_FUNCTIONS[operation];
  const gradients = host.numbers(gradOut);
  host.store(
    out,
    host.numbers(x).map((each, i) => gradients[i]! * derivative(each, exponent)),
  );
}

export function binary({ operation, a, b, stretch, out }: BinaryCall, { numbers, store }: Host): void {
  const combine = BINARY_FUNCTIONS[operation];
  const right = numbers(b);
  store(
    out,
    numbers(a).map((value, i) => combine(value, right[Math.floor(i / stretch) % right.length]!)),
  );
}
