import { UnsupportedError } from '../../../errors';
import type { FocusBackwardCall, FocusCall, RouteBackwardCall, RouteCall } from '../../backend';
import type { Plan, Workspace } from '../queue';

export function planRoute(_call: RouteCall, _workspace: Workspace): Plan {
  throw new UnsupportedError('Route has no WebGPU kernel yet');
}

export function planRouteBackward(_call: RouteBackwardCall, _workspace: Workspace): Plan {
  throw new UnsupportedError('RouteBackward has no WebGPU kernel yet');
}

export function planFocus(_call: FocusCall, _workspace: Workspace): Plan {
  throw new UnsupportedError('Focus has no WebGPU kernel yet');
}

export function planFocusBackward(_call: FocusBackwardCall, _workspace: Workspace): Plan {
  throw new UnsupportedError('FocusBackward has no WebGPU kernel yet');
}
