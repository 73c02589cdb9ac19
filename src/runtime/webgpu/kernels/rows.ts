import { UnsupportedError } from '../../../errors';
import type { GatherCall, LayerNormCall, RmsNormCall, RowwiseCall } from '../../backend';
import type { Plan, Workspace } from '../queue';

export function planLayerNorm(_call: LayerNormCall, _workspace: Workspace): Plan {
  throw new UnsupportedError('LayerNorm has no WebGPU kernel yet');
}

export function planRowwise(_call: RowwiseCall, _workspace: Workspace): Plan {
  throw new UnsupportedError('Rowwise has no WebGPU kernel yet');
}

export function planRmsNorm(_call: RmsNormCall, _workspace: Workspace): Plan {
  throw new UnsupportedError('RmsNorm has no WebGPU kernel yet');
}

export function planGather(_call: GatherCall, _workspace: Workspace): Plan {
  throw new UnsupportedError('Gather has no WebGPU kernel yet');
}
