import { UnsupportedError } from '../../../errors';
import type { AttentionCall } from '../../backend';
import type { Plan, Workspace } from '../queue';

export function planAttention(_call: AttentionCall, _workspace: Workspace): Plan {
  throw new UnsupportedError('Attention has no WebGPU kernel yet');
}
