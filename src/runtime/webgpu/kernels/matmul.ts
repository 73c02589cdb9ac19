import { UnsupportedError } from '../../../errors';
import type { MatmulCall } from '../../backend';
import type { Plan, Workspace } from '../queue';

export function planMatmul(_call: MatmulCall, _workspace: Workspace): Plan {
  throw new UnsupportedError('Matmul has no WebGPU kernel yet');
}
