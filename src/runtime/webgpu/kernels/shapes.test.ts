/** Large shapes by the kernels of the adapter at hand, which mostly is one in software. */
import { describeLargeShapes } from '../../../../test/large-shapes';

describeLargeShapes('large shapes on WebGPU');
