/** The state of a page in its address, behind `#?`. */
export const stateOfAddress = () =>
  location.hash.startsWith('#?') ? new URLSearchParams(location.hash.slice(2)) : undefined;

export function keepInAddress(state: URLSearchParams): void {
  history.replaceState(null, '', state.size > 0 ? `#?${state}` : location.pathname + location.search);
}
