export {
  type CollectiveKind,
  collectiveSeconds,
  membersByLevel,
  messageSeconds,
  slowestLink,
  type Span,
  type Wires,
} from "./collective.ts";
export { type Curve, curveSeconds, fitCurve, type Sample } from "./curve.ts";
export { clusterFail } from "./errors.ts";
export { namedCluster } from "./named.ts";
export { parseCluster } from "./parse.ts";
export { ASSUMED, atPace, DEVICES, findDevice, presetCluster, presetGroup, WIRINGS } from "./presets.ts";
export {
  type CollectiveCurve,
  collectivesAmong,
  type DeviceProfile,
  FEATURES,
  gemmFeatures,
  groupedFeatures,
  type KernelCurves,
  PROFILE_SCHEMA,
  type ProfilePoint,
} from "./profile.ts";
export { parseProfile, profileMachine, withProfile } from "./profile-read.ts";
export {
  type Cluster,
  clusterDevices,
  type Device,
  type Efficiency,
  groupDevices,
  type Link,
  type MathFormat,
  type NodeGroup,
  type PowerLimit,
} from "./types.ts";
