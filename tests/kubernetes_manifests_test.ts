/**
 * Tests of deploy/kubernetes and of the chart: the manifests conform to the schemas of
 * Kubernetes, and ask for what the image needs and no more.
 *
 * Neither Helm nor an API server runs here: the release workflow lints and renders the
 * chart. Here its values are checked, and that its templates use only values that there
 * are.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { Ajv } from "ajv";
import { DaemonSet } from "kubernetes-models/apps/v1/DaemonSet";
import { NetworkPolicy } from "kubernetes-models/networking.k8s.io/v1/NetworkPolicy";
import { ClusterRole } from "kubernetes-models/rbac.authorization.k8s.io/v1/ClusterRole";
import { ClusterRoleBinding } from "kubernetes-models/rbac.authorization.k8s.io/v1/ClusterRoleBinding";
import { ConfigMap } from "kubernetes-models/v1/ConfigMap";
import { Namespace } from "kubernetes-models/v1/Namespace";
import { ServiceAccount } from "kubernetes-models/v1/ServiceAccount";
import { parse, parseAllDocuments } from "yaml";
import denoJson from "../deno.json" with { type: "json" };
import { DAEMON_CAPABILITIES } from "../lib/platform/linux/privileges.ts";
import { parseToml } from "../lib/config/toml.ts";
import "./support/deadline.ts";

const DEPLOY = new URL("../deploy/", import.meta.url);
const CHART = "helm/rcap/";

const MODELS: Readonly<
  Record<string, new (data: never) => { validate(): void }>
> = {
  DaemonSet,
  NetworkPolicy,
  ClusterRole,
  ClusterRoleBinding,
  ConfigMap,
  Namespace,
  ServiceAccount,
};

function read(path: string): string {
  return Deno.readTextFileSync(new URL(path, DEPLOY));
}

function filesIn(folder: string): string[] {
  return [...Deno.readDirSync(new URL(folder, DEPLOY))]
    .filter(({ isFile }) => isFile).map(({ name }) => name).sort();
}

/** The objects in a file of YAML, each of which has a kind. */
function objectsIn(path: string) {
  return parseAllDocuments(read(path)).map((document) => {
    assertEquals(document.errors, []);
    return document.toJS();
  });
}

Deno.test("the manifests conform to the schemas of Kubernetes", () => {
  const { resources } = parse(read("kubernetes/kustomization.yaml"));
  const files = filesIn("kubernetes/")
    .filter((name) => name.endsWith(".yaml") && name !== "kustomization.yaml");
  assertEquals([...resources].sort(), files);
  const kinds = files.flatMap((name) => objectsIn(`kubernetes/${name}`))
    .map((object) => {
      const Model = MODELS[object.kind];
      assert(Model, `${object.kind} is known`);
      // The models take what they validate.
      new Model(object as never).validate();
      return object.kind;
    });
  assertEquals(kinds.sort(), Object.keys(MODELS).sort());
  // The schemas do find mistakes.
  const [set] = objectsIn("kubernetes/daemonset.yaml");
  set.spec.template.spec.hostPID = "yes";
  assertThrows(
    () => new DaemonSet(set).validate(),
    Error,
    "hostPID must be boolean",
  );
});

Deno.test("the DaemonSet asks for what the image needs, and no more", () => {
  const [set] = objectsIn("kubernetes/daemonset.yaml");
  const { spec } = set.spec.template;
  const [rcap] = spec.containers;
  const { securityContext: security } = rcap;
  assertEquals(
    security.capabilities.add.toSorted(),
    DAEMON_CAPABILITIES.map((name) => name.replace("CAP_", "")).toSorted(),
  );
  assertEquals(security.capabilities.drop, ["ALL"]);
  assertEquals(security.privileged, undefined);
  assertEquals(security.allowPrivilegeEscalation, false);
  assertEquals(security.readOnlyRootFilesystem, true);
  assertEquals(spec.hostPID, true);
  assertEquals(spec.hostNetwork, undefined);
  const host = rcap.volumeMounts.find(({ name }: { name: string }) =>
    name === "host"
  );
  assertEquals(host, {
    name: "host",
    mountPath: "/host",
    readOnly: true,
    mountPropagation: "HostToContainer",
  });
  assertEquals(rcap.ports, [{ name: "metrics", containerPort: 7227 }]);
  const names = new Set(spec.volumes.map(({ name }: { name: string }) => name));
  for (const container of [...spec.containers, ...spec.initContainers]) {
    for (const { name } of container.volumeMounts) {
      assert(names.delete(name), `the volume ${name}`);
    }
  }
  assertEquals([...names], [], "volumes that nothing mounts");
  // Three copies, since neither kustomize nor Helm reads files outside of their folders.
  const profile = read("image/seccomp.json");
  assertEquals(read("kubernetes/seccomp.json"), profile);
  assertEquals(read(`${CHART}files/seccomp.json`), profile);
});

Deno.test("the configurations are TOML, and watch pods", () => {
  const [map] = objectsIn("kubernetes/configmap.yaml");
  const values = parse(read(`${CHART}values.yaml`));
  for (const text of [map.data["rcap.toml"], values.config]) {
    assertEquals(parseToml(text).value, { daemon: { kubernetes: true } });
  }
});

Deno.test("the chart's values conform to its schema, which finds mistakes", () => {
  const validate = new Ajv({ allErrors: true }).compile(
    JSON.parse(read(`${CHART}values.schema.json`)),
  );
  const values = parse(read(`${CHART}values.yaml`));
  validate(values);
  assertEquals(validate.errors ?? [], []);
  assertEquals(values.podMonitor.enabled, false);
  assertEquals(values.metrics.port, 7227);
  for (
    const wrong of [
      { metrics: { host: "0.0.0.0", port: "7227" } },
      { metrics: { host: "0.0.0.0", port: 0 } },
      { dryRun: "yes" },
      { podMonitor: { enabled: true, interval: "soon" } },
      { seccomp: { ...values.seccomp, directory: "seccomp" } },
      { colour: "red" },
    ]
  ) {
    assert(!validate({ ...values, ...wrong }), JSON.stringify(wrong));
  }
});

Deno.test("the chart's templates use values that there are, and close what they open", () => {
  const values = parse(read(`${CHART}values.yaml`));
  const folder = `${CHART}templates/`;
  const used = new Set<string>();
  for (const name of filesIn(folder)) {
    const text = read(folder + name);
    for (const [, path] of text.matchAll(/\.Values\.([A-Za-z.]+)/g)) {
      let value = values;
      for (const key of path.split(".")) {
        assert(Object.hasOwn(value, key), `${name}: .Values.${path}`);
        value = value[key];
      }
      used.add(path.split(".")[0]);
    }
    const actions = [...text.matchAll(/{{-? *(\w+)/g)].map(([, word]) => word);
    const opened = actions.filter((word) =>
      ["if", "with", "range", "define"].includes(word)
    );
    const closed = actions.filter((word) => word === "end");
    assertEquals(closed.length, opened.length, name);
  }
  assertEquals([...used].sort(), Object.keys(values).sort());
  const chart = parse(read(`${CHART}Chart.yaml`));
  assertEquals(chart.version, denoJson.version);
  assertEquals(chart.appVersion, denoJson.version);
  const { images: [image] } = parse(read("kubernetes/kustomization.yaml"));
  assertEquals(image.newTag, denoJson.version);
});
