import { UnsupportedError } from '../../../errors';
import type { LinearAttentionBackwardCall, LinearAttentionCall, LinearAttentionStepCall } from '../../backend';
import type { Plan, Workspace } from '../queue';

export function planLinearAttention(_call: LinearAttentionCall, _workspace: Workspace): Plan {
  throw new UnsupportedError('LinearAttention has no WebGPU kernel yet');
}

export function planLinearAttentionBackward(_call: LinearAttentionBackwardCall, _workspace: Workspace): Plan {
  throw new UnsupportedError('LinearAttentionBackward has no WebGPU kernel yet');
}

export function planLinearAttentionStep(_call: LinearAttentionStepCall, _workspace: Workspace): Plan {
  throw new UnsupportedError('LinearAttentionStep has no WebGPU kernel yet');
}
