export { type DerivativeContext, recompute, stopGradient, straightThrough, withDerivative } from './as-step';
export { differentiate, type Gradients, type Pullback, pullback, type SomeGradients } from './pullback';
