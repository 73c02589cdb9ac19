import type { Tensor } from '../../tensor/tensor';

/** How the gated delta rule is computed: by products over chunks of tokens, or token by token. */
export const DELTA_RULE_FORMS = ['chunked', 'recurrent'] as const;
export type DeltaRuleForm = (typeof DELTA_RULE_FORMS)[number];

/** q and k [b,n,h,d], v [b,n,h,e], g and beta [b,n,h], initialState [b,h,d,e] of any strides. */
export interface GatedDeltaRuleInputs {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  /** Finite and at most 0. */
  readonly g: Tensor;
  readonly beta: Tensor;
  readonly initialState?: Tensor | undefined;
  readonly scale: number;
  /** How many tokens lie between `states`. */
  readonly every?: number | undefined;
}

/** -> out [b,n,h,e], state [b,h,d,e] f32, and with `every` states [b,t,h,d,e] f32. */
export interface GatedDeltaRuleCall extends GatedDeltaRuleInputs {
  readonly out: Tensor;
  readonly state: Tensor;
  readonly states?: Tensor | undefined;
  readonly form: DeltaRuleForm;
}

/**
 * Gradients of a loss with respect to out and, perhaps, the last state, of any strides, and with `every` with respect to
 * states, f32 and contiguous -> those with respect to the inputs, of their shapes; to the initial state only if there is
 * one. `totals`: to the states also by what follows them.
 */
export interface GatedDeltaRuleBackwardCall extends GatedDeltaRuleInputs {
  readonly gradOut: Tensor;
  readonly gradState?: Tensor | undefined;
  readonly gradStates?: Tensor | undefined;
  readonly gradQ: Tensor;
  readonly gradK: Tensor;
  readonly gradV: Tensor;
  readonly gradG: Tensor;
  readonly gradBeta: Tensor;
  readonly gradInitialState?: Tensor | undefined;
  readonly totals?: Tensor | undefined;
}
