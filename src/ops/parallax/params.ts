import { Contiguous, Operand } from '../../runtime/cpu/params';
import { struct } from '../../runtime/cpu/struct';

/** Behind attention's own: r and, where they are wanted, the weighted means of the values and of the products with r. */
export const Forward = struct({ r: Operand, mean: 'tensor', level: 'tensor' });

/** Behind attention's own: r, what the forward pass kept, r's gradient, and its sums and what is held of it, which lie as those of q do. */
export const Backward = struct({
  r: Operand,
  mean: Operand,
  level: 'tensor',
  gradR: Contiguous,
  sumsR: 'usize',
  heldR: 'usize',
});
