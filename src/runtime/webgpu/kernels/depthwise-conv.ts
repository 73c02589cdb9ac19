import { UnsupportedError } from '../../../errors';
import type { DepthwiseConvCall, DepthwiseConvWeightsCall } from '../../backend';
import type { Plan, Workspace } from '../queue';

export function planDepthwiseConv(_call: DepthwiseConvCall, _workspace: Workspace): Plan {
  throw new UnsupportedError('DepthwiseConv has no WebGPU kernel yet');
}

export function planDepthwiseConvWeights(_call: DepthwiseConvWeightsCall, _workspace: Workspace): Plan {
  throw new UnsupportedError('DepthwiseConvWeights has no WebGPU kernel yet');
}
