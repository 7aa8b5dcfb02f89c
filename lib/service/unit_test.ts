/**
 * Tests of the systemd unit's text. `tests/live/privileged/unit_test.ts` tests how
 * systemd reads it.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { parseSelector } from "../collection/selectors.ts";
import { UsageError } from "../errors.ts";
import { firstUnsafe } from "../report/testing.ts";
import { DAEMON_CAPABILITIES } from "../platform/linux/privileges.ts";
import { systemdUnit, type UnitOptions } from "./unit.ts";

/** The text of a unit. */
function unitOf(options: Partial<UnitOptions> = {}): string {
  return systemdUnit({
    program: "/usr/local/bin/rcap",
    args: ["run"],
    stateDirectory: "/run/rcap",
    learntDirectory: "/var/lib/rcap",
    capabilities: DAEMON_CAPABILITIES,
    mostMemory: 768 * 2 ** 20,
    ...options,
  });
}

/** The settings of a unit, without comments, as `section.name=value`. */
function settingsOf(options: Partial<UnitOptions> = {}): string[] {
  const text = unitOf(options);
  let section = "";
  const settings: string[] = [];
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#")) continue;
    if (line.startsWith("[")) section = line.slice(1, -1);
    else settings.push(`${section}.${line}`);
  }
  return settings;
}

/** Asserts that a unit has some settings, and lacks others. */
function assertSettings(
  settings: readonly string[],
  { there = [], absent = [] }: { there?: string[]; absent?: string[] },
): void {
  for (const setting of there) assert(settings.includes(setting), setting);
  for (const start of absent) {
    assertEquals(settings.filter((one) => one.startsWith(start)), []);
  }
}

Deno.test("the unit starts, reloads and watches the daemon", () => {
  const args = ["run", "--config", "/etc/rcap.toml"];
  assertSettings(settingsOf({ args }), {
    there: [
      "Service.Type=notify",
      "Service.NotifyAccess=main",
      "Service.ExecStart=/usr/local/bin/rcap run --config /etc/rcap.toml",
      'Service.ExecReload=/bin/sh -c "kill -HUP $MAINPID"',
      "Service.WatchdogSec=30s",
      "Service.LimitNOFILE=1024",
      "Service.Restart=on-failure",
      "Service.RestartPreventExitStatus=2 4",
      "Service.RuntimeDirectory=rcap",
      "Service.RuntimeDirectoryMode=0755",
      "Service.RuntimeDirectoryPreserve=yes",
      "Service.NoNewPrivileges=yes",
      "Service.ProtectHome=yes",
      "Service.MemoryMax=768M",
      `Service.CapabilityBoundingSet=${DAEMON_CAPABILITIES.join(" ")}`,
      "Install.WantedBy=multi-user.target",
    ],
  });
});

Deno.test("words are quoted if necessary", () => {
  const args = ["run", "a b", '"', "$x", "%n", "\\"];
  const [exec] = settingsOf({ program: "/opt/r cap", args })
    .filter((setting) => setting.startsWith("Service.ExecStart="));
  assertEquals(
    exec,
    'Service.ExecStart="/opt/r cap" run "a b" "\\"" $$x %%n "\\\\"',
  );
});

Deno.test("no word adds a line to the unit, or a character that a terminal acts on", () => {
  const word =
    "a\n[Service]\nUser=x\r\t\x1b]0;b\x07\x7f\x9b\u202e\u2028\u{e0001}é";
  const text = unitOf({ args: ["run", "--config", word] });
  assertEquals(firstUnsafe(text), undefined);
  assertEquals(text.split("\n").length, unitOf().split("\n").length);
  const exec = String.raw`ExecStart=/usr/local/bin/rcap run --config ` +
    String
      .raw`"a\x0a[Service]\x0aUser=x\x0d\x09\x1b]0;b\x07\x7f\xc2\x9b\xe2\x80\xae\xe2\x80\xa8\xf3\xa0\x80\x81é"`;
  assert(text.split("\n").includes(exec), text);
});

Deno.test("paths that a unit cannot express are refused", () => {
  for (const odd of ["\n", "\x1b", "\x9b", "\u202e", "\u{e0001}"]) {
    for (
      const options of [
        { program: `/opt/r${odd}cap` },
        { stateDirectory: `/run/r${odd}cap` },
        { stateDirectory: `/var/lib/r${odd}cap` },
      ]
    ) {
      const error = assertThrows(() => unitOf(options), UsageError);
      assert(error.remedy !== undefined);
    }
  }
  for (const odd of ['"', "'", "\\"]) {
    assertThrows(() => unitOf({ program: `/opt/r${odd}cap` }), UsageError);
  }
});

Deno.test("home directories are hidden unless the daemon uses a path there", () => {
  const cases: [word: string, setting: string][] = [
    ["/root/rcap.toml", "read-only"],
    ["--config=/home/alice/rcap.toml", "read-only"],
    ["/run/user/1000/rcap.toml", "read-only"],
    ["/etc/home/rcap.toml", "yes"],
    ["/rooted/rcap.toml", "yes"],
  ];
  for (const [word, setting] of cases) {
    assertSettings(settingsOf({ args: ["run", "--config", word] }), {
      there: [`Service.ProtectHome=${setting}`],
    });
  }
  assertSettings(settingsOf({ program: "/home/alice/bin/rcap" }), {
    there: ["Service.ProtectHome=read-only"],
  });
});

Deno.test("the state directory is writable, wherever it is", () => {
  assertSettings(settingsOf({ stateDirectory: "/run/my%rcap" }), {
    there: ["Service.RuntimeDirectory=rcap my%%rcap"],
    absent: ["Service.ReadWritePaths="],
  });
  assertSettings(settingsOf({ stateDirectory: "/var/lib/my rcap" }), {
    there: [
      'Service.ReadWritePaths="/var/lib/my rcap"',
      // The directory that all rcaps of the machine share.
      "Service.RuntimeDirectory=rcap",
    ],
  });
});

Deno.test("the unit allows no more network access than the metrics need", () => {
  assertSettings(settingsOf(), {
    there: [
      "Service.PrivateNetwork=yes",
      "Service.IPAddressDeny=any",
      "Service.RestrictAddressFamilies=AF_UNIX",
    ],
  });
  for (const hostname of ["127.0.0.1", "127.1.2.3", "::1", "localhost"]) {
    assertSettings(settingsOf({ metrics: { hostname, port: 7227 } }), {
      there: ["Service.IPAddressDeny=any", "Service.IPAddressAllow=localhost"],
      absent: ["Service.PrivateNetwork"],
    });
  }
  for (const hostname of ["0.0.0.0", "::", "192.0.2.1", "127.example.org"]) {
    assertSettings(settingsOf({ metrics: { hostname, port: 7227 } }), {
      absent: ["Service.PrivateNetwork", "Service.IPAddress"],
    });
  }
});

Deno.test("cgroups are read-only unless a cap has one reclaimed", () => {
  const capOf = (selector: string, reclaim?: "auto" | "off") => ({
    select: [parseSelector(selector)],
    reclaim,
  });
  const closed = { there: ["Service.ProtectControlGroups=yes"] };
  const writable = ["Service.ReadWritePaths"];
  for (
    const caps of [
      undefined,
      [],
      [capOf("cgroup:/db/one"), capOf("unit:nginx", "off")],
      // Nothing is reclaimed of these.
      [capOf("comm:nginx", "auto")],
      [{
        select: [parseSelector("unit:a"), parseSelector("unit:b")],
        reclaim: "auto" as const,
      }],
    ]
  ) {
    assertSettings(settingsOf({ caps }), { ...closed, absent: writable });
  }
  assertSettings(
    settingsOf({
      caps: [
        capOf("cgroup:/a b/c%d/one", "auto"),
        capOf("cgroup:/db.slice/one", "auto"),
        capOf("cgroup:/db.slice/two", "auto"),
      ],
    }),
    {
      there: [
        "Service.ProtectControlGroups=yes",
        'Service.ReadWritePaths=-"/sys/fs/cgroup/a b/c%%d"',
        "Service.ReadWritePaths=-/sys/fs/cgroup/db.slice",
      ],
    },
  );
  for (
    const selector of [
      "unit:nginx",
      "cgroup:/db",
      "cgroup:/d?/x",
      "cgroup:/a/*",
    ]
  ) {
    assertSettings(
      settingsOf({
        caps: [capOf("cgroup:/a/b", "auto"), capOf(selector, "auto")],
      }),
      {
        there: ["Service.ProtectControlGroups=no"],
        absent: [...writable, "Service.ProtectControlGroups=yes"],
      },
    );
  }
});

Deno.test("it may write where recordings are kept", () => {
  const all = (record: string) => settingsOf({ record }).join("\n");
  const inLearnt = all("/var/lib/rcap/recordings");
  // The directory for what is learnt has to be the first in $STATE_DIRECTORY.
  assertEquals(inLearnt, all(""));
  assert(inLearnt.includes("Service.StateDirectory=rcap\n"), inLearnt);
  assert(inLearnt.includes("Service.StateDirectoryMode=0700"));
  const elsewhere = all("/var/lib/heat/rcap");
  assert(
    elsewhere.indexOf("Service.StateDirectory=rcap\n") <
      elsewhere.indexOf("Service.StateDirectory=heat/rcap"),
    elsewhere,
  );
  const other = all("/srv/recordings");
  assert(/Service\.ReadWritePaths="?\/srv\/recordings/.test(other), other);
});
