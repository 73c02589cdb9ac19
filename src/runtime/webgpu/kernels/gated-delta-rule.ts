import { UnsupportedError } from '../../../errors';
import type { GatedDeltaRuleBackwardCall, GatedDeltaRuleCall } from '../../backend';
import type { Plan, Workspace } from '../queue';

export function planGatedDeltaRule(_call: GatedDeltaRuleCall, _workspace: Workspace): Plan {
  throw new UnsupportedError('GatedDeltaRule has no WebGPU kernel yet');
}

export function planGatedDeltaRuleBackward(_call: GatedDeltaRuleBackwardCall, _workspace: Workspace): Plan {
  throw new UnsupportedError('GatedDeltaRuleBackward has no WebGPU kernel yet');
}
