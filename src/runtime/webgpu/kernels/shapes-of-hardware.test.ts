/** Large shapes by the kernels that a GPU would have, whatever is at hand. */
import { vi } from 'vitest';
import { describeLargeShapes } from '../../../../test/large-shapes';

vi.mock('../adapter', async (original) => ({
  ...(await original<typeof import('../adapter')>()),
  isSoftware: () => false,
}));

describeLargeShapes('large shapes on WebGPU, as on hardware');
