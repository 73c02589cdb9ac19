/**
 * SGLU, the simple gated linear unit of TransNormerLLM: ((x v) * (x u)) o, the product elementwise, without an activation.
 * Letters: D width, F hidden width.
 */
import { add, multiply } from '../ops/map';
import { matmul } from '../ops/matmul';
import type { Runtime } from '../runtime/runtime';
import { bindShapes, type Shape } from '../tensor/shape';
import type { Tensor } from '../tensor/tensor';
import {
  checkExtents,
  checkNames,
  checkPass,
  type Module,
  type ModuleControl,
  type ModuleGradients,
  matmulBackward,
  type Parameters,
  randomParameters,
} from './module';

const NAMES = ['v', 'u', 'o'] as const;

export class SimpleGlu implements Module {
  readonly parameters: Readonly<Record<(typeof NAMES)[number], Tensor>>;

  /** v and u [D, F], o [F, D]. */
  static shapes(extents: { readonly width: number; readonly hidden: number }): Record<(typeof NAMES)[number], Shape> {
    checkExtents(extents, ['width', 'hidden']);
    const { width, hidden } = extents;
    return { v: [width, hidden], u: [width, hidden], o: [hidden, width] };
  }

  /** With the parameters that training starts from. */
  static initial(runtime: Runtime, extents: { readonly width: number; readonly hidden: number }, seed = 0): SimpleGlu {
    return new SimpleGlu(randomParameters(runtime, SimpleGlu.shapes(extents), seed, 0.02));
  }

  constructor(parameters: Parameters) {
    checkNames('SimpleGlu', parameters, NAMES);
    const { v, u, o } = parameters as Record<(typeof NAMES)[number], Tensor>;
    bindShapes({ v: 'D F', u: 'D F', o: 'F D' }, { v: v.shape, u: u.shape, o: o.shape });
    this.parameters = { v, u, o };
  }

  forward(x: Tensor, control: ModuleControl = {}): Tensor {
    checkPass(this, { x }, control);
    return x.runtime.scope(() => matmul(this.#hidden(x, control).product, this.parameters.o, control));
  }

  backward(x: Tensor, gradOut: Tensor, control: ModuleControl = {}): ModuleGradients {
    checkPass(this, { x, gradOut }, control);
    return x.runtime.scope(() => {
      const { left, right, product } = this.#hidden(x, control);
      const output = matmulBackward(product, this.parameters.o, gradOut, control);
      const gradLeft = multiply(output.x, right);
      const gradRight = multiply(output.x, left);
      const v = matmulBackward(x, this.parameters.v, gradLeft, control);
      const u = matmulBackward(x, this.parameters.u, gradRight, control);
      return { x: add(v.x, u.x), parameters: { v: v.weight, u: u.weight, o: output.weight } };
    });
  }

  #hidden(x: Tensor, control: ModuleControl) {
    const left = matmul(x, this.parameters.v, control);
    const right = matmul(x, this.parameters.u, control);
    return { left, right, product: multiply(left, right) };
  }
}
