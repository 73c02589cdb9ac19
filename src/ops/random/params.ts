import { struct } from '../../runtime/cpu/struct';

export { DISTRIBUTIONS } from './call';

/** Numbers of a task, a multiple of those that are made together. */
export const RUN = 8192;

export const RandomParams = struct({
  /** The seed's low and high words, as unsigned numbers. */
  low: 'usize',
  high: 'usize',
  distribution: 'i32',
  size: 'usize',
  out: 'tensor',
});
