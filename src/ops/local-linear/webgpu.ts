import { UnsupportedError } from '../../errors';
import type { Plan } from '../../runtime/webgpu/queue';
import type { LocalLinearBackwardCall, LocalLinearCall } from './call';

export function planLocalLinear(_call: LocalLinearCall): Plan {
  throw new UnsupportedError('todo');
}
export function planLocalLinearBackward(_call: LocalLinearBackwardCall): Plan {
  throw new UnsupportedError('todo');
}
