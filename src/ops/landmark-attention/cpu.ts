/** Plans of grouped softmax: attention's, for kernels that it has joined in on, with its params behind attention's. */
import type { Machine, Plan } from '../../runtime/cpu/plan';
import type { Steps } from '../../runtime/turns';
import { planAttentionBackward } from '../attention/backward/cpu';
import { extended } from '../attention/cpu';
import { planAttention } from '../attention/forward/cpu';
import { panelsOf } from './blocks';
import type { LandmarkBackwardCall, LandmarkCall } from './call';
import { Grouping } from './params.generated';

export function* planLandmarks(call: LandmarkCall, machine: Machine): Steps<Plan> {
  const plan = yield* planAttention(call, machine, { panelsTogether: panelsOf(call.block) });
  return extended(plan, 1, () => paramsOf(call));
}

export function* planLandmarksBackward(call: LandmarkBackwardCall, machine: Machine): Steps<Plan> {
  return extended(yield* planAttentionBackward(call, machine, { panelsTogether: panelsOf(call.block) }), 1, () =>
    paramsOf(call),
  );
}

const paramsOf = ({ block }: LandmarkCall) => Grouping({ block, panels: panelsOf(block) });
