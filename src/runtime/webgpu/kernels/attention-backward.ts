import { UnsupportedError } from '../../../errors';
import type { AttentionBackwardCall } from '../../backend';
import type { Plan, Workspace } from '../queue';

export function planAttentionBackward(_call: AttentionBackwardCall, _workspace: Workspace): Plan {
  throw new UnsupportedError('AttentionBackward has no WebGPU kernel yet');
}
