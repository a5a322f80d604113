export {
  type CollectiveKind,
  collectiveSeconds,
  membersByLevel,
  messageSeconds,
  slowestLink,
  type Span,
  type Wires,
} from "./collective.ts";
export { clusterFail } from "./errors.ts";
export { parseCluster } from "./parse.ts";
export { DEVICES, findDevice, presetCluster, presetGroup } from "./presets.ts";
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
