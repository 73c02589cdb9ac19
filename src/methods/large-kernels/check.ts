/** What these methods check alike. */
import { checkKnown } from '../../check';
import { checkOptions } from '../../ops/check';
import { checkFloat32 } from '../../ops/float32';
import type { Control } from '../../runtime/backend';
import { bindShapes, type Shape } from '../../tensor/shape';
import type { Tensor } from '../../tensor/tensor';
import type { Specs } from '../define';

interface More {
  /** Specifications of inputs that may be left out. */
  readonly optional?: Specs;
  readonly control?: Control;
}

/** Throws unless the inputs are all there, f32, and have the shapes of these specifications. */
export function checkShapes(
  name: string,
  specs: Specs,
  inputs: Readonly<Record<string, Tensor | undefined>>,
  { optional = {}, control = {} }: More = {},
): void {
  const all = { ...specs, ...optional };
  checkKnown(`inputs of ${name}`, inputs, Object.keys(all), (unknown) => `${name} takes no '${unknown}'`);
  checkOptions(name, control, ['signal', 'onProgress']);
  const names = Object.keys(all).filter((each) => each in specs || inputs[each] !== undefined);
  const given = Object.fromEntries(names.map((each) => [each, inputs[each] as Tensor]));
  checkFloat32(name, given, control);
  const pick = <T>(of: (each: string) => T) => Object.fromEntries(names.map((each) => [each, of(each)]));
  bindShapes<string>(
    pick((each) => all[each] as string),
    pick((each): Shape => (given[each] as Tensor).shape),
  );
}
