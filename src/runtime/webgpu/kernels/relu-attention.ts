import { UnsupportedError } from '../../../errors';
import type { ReluAttentionBackwardCall, ReluAttentionCall } from '../../backend';
import type { Plan, Workspace } from '../queue';

export function planReluAttention(_call: ReluAttentionCall, _workspace: Workspace): Plan {
  throw new UnsupportedError('ReluAttention has no WebGPU kernel yet');
}

export function planReluAttentionBackward(_call: ReluAttentionBackwardCall, _workspace: Workspace): Plan {
  throw new UnsupportedError('ReluAttentionBackward has no WebGPU kernel yet');
}
