/** The plans whose kernels are machine code, by the names that ops have for them: loaded with a runtime that may run it, so that no call waits for them. */
import type { NativePlans } from '../runtime/cpu/plan';
import { planNative as attentionBackward } from './attention/backward/native';
import { planNative as attention } from './attention/forward/native';
import { planNative as copy } from './copy/native';
import { planNative as map } from './map/native';
import { planNative as matmul } from './matmul/native';
import { planNative as peak } from './peak/native';
import { planNative as reduce } from './reduce/native';
import { planNative as softmax, planGradient as softmaxGradient } from './softmax/native';

export const nativePlans: NativePlans = {
  ...{ attention, attentionBackward, map, matmul, peak },
  ...{ copy, reduce, softmax, softmaxGradient },
};
