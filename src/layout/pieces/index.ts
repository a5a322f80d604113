/** Which slice of which tensor every rank holds. */
export { type Coordinates, coordinates } from "./coordinates.ts";
export {
  type Held,
  heldElements,
  type Piece,
  pieceBytes,
  type PieceMap,
  pieceMap,
  type PieceOptions,
  type PlacedTensor,
} from "./map.ts";
export { type Slice, sliceElements } from "./slices.ts";
