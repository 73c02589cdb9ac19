/**
 * SGLU, the simple gated linear unit of TransNormerLLM: ((x v) * (x u)) o, the product elementwise, without an activation.
 * Letters: D width, F hidden width.
 */
import { add, multiply } from '../ops/elementwise';
import { matmul } from '../ops/matmul';
import type { Runtime } from '../runtime/runtime';
import { bindShapes, type Shape } from '../tensor/shape';
import { Temporaries } from '../tensor/temporaries';
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

  async forward(x: Tensor, control: ModuleControl = {}): Promise<Tensor> {
    checkPass(this, { x }, control);
    using temporaries = new Temporaries();
    const { product } = await this.#hidden(x, temporaries, control);
    return await matmul(product, this.parameters.o, control);
  }

  async backward(x: Tensor, gradOut: Tensor, control: ModuleControl = {}): Promise<ModuleGradients> {
    checkPass(this, { x, gradOut }, control);
    using temporaries = new Temporaries();
    const { own } = temporaries;
    const { left, right, product } = await this.#hidden(x, temporaries, control);
    const output = await temporaries.ownAll(matmulBackward(product, this.parameters.o, gradOut, control));
    const byLeft = await own(multiply(output.x, right));
    const byRight = await own(multiply(output.x, left));
    const v = await temporaries.ownAll(matmulBackward(x, this.parameters.v, byLeft, control));
    const u = await temporaries.ownAll(matmulBackward(x, this.parameters.u, byRight, control));
    const byX = await own(add(v.x, u.x));
    temporaries.release([byX, v.weight, u.weight, output.weight]);
    return { x: byX, parameters: { v: v.weight, u: u.weight, o: output.weight } };
  }

  async #hidden(x: Tensor, { own }: Temporaries, control: ModuleControl) {
    const left = await own(matmul(x, this.parameters.v, control));
    const right = await own(matmul(x, this.parameters.u, control));
    return { left, right, product: await own(multiply(left, right)) };
  }
}
