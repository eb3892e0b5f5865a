<?php
require_once("config.inc"); require_once("util.inc"); require_once("filter.inc"); require_once("interfaces.inc");
$job = json_decode(base64_decode('{
 "write": true,
 "load": false,
 "prefix": "vpnmesh:run-1:",
 "objects": {
  "schedules": [
   {
    "name": "vpnmesh_4e65d3fb",
    "descr": "vpnmesh:run-1:rules end by themselves",
    "timerange": [
     {
      "month": "11",
      "day": "23",
      "hour": "23:00-23:59",
      "position": "",
      "rangedescr": ""
     },
     {
      "month": "11",
      "day": "24",
      "hour": "0:00-1:15",
      "position": "",
      "rangedescr": ""
     }
    ]
   }
  ],
  "aliases": [
   {
    "name": "vpnmesh_4e65d3fb_00",
    "type": "host",
    "address": "192.88.99.26 192.88.99.34",
    "descr": "vpnmesh:run-1:alias 00",
    "detail": "||"
   },
   {
    "name": "vpnmesh_4e65d3fb_01",
    "type": "host",
    "address": "192.88.99.34",
    "descr": "vpnmesh:run-1:alias 01",
    "detail": ""
   },
   {
    "name": "vpnmesh_4e65d3fb_02",
    "type": "host",
    "address": "192.88.99.35",
    "descr": "vpnmesh:run-1:alias 02",
    "detail": ""
   }
  ],
  "rules": [
   {
    "type": "pass",
    "floating": "yes",
    "quick": "yes",
    "direction": "in",
    "interface": "vlan10,vlan20,vlan30",
    "ipprotocol": "inet46",
    "statetype": "keep state",
    "source": {
     "any": ""
    },
    "destination": {
     "address": "vpnmesh_4e65d3fb_00"
    },
    "descr": "vpnmesh:run-1:block-udp-k8s 00",
    "protocol": "udp",
    "sched": "vpnmesh_4e65d3fb"
   },
   {
    "type": "pass",
    "floating": "yes",
    "quick": "yes",
    "direction": "in",
    "interface": "vlan10,vlan20,vlan30",
    "ipprotocol": "inet46",
    "statetype": "keep state",
    "source": {
     "any": ""
    },
    "destination": {
     "address": "vpnmesh_4e65d3fb_01",
     "port": "53"
    },
    "descr": "vpnmesh:run-1:block-udp-k8s 01",
    "protocol": "udp",
    "sched": "vpnmesh_4e65d3fb"
   },
   {
    "type": "pass",
    "floating": "yes",
    "quick": "yes",
    "direction": "in",
    "interface": "vlan10,vlan20,vlan30",
    "ipprotocol": "inet46",
    "statetype": "keep state",
    "source": {
     "any": ""
    },
    "destination": {
     "address": "vpnmesh_4e65d3fb_01",
     "port": "53"
    },
    "descr": "vpnmesh:run-1:block-udp-k8s 02",
    "protocol": "tcp",
    "sched": "vpnmesh_4e65d3fb"
   },
   {
    "type": "pass",
    "floating": "yes",
    "quick": "yes",
    "direction": "in",
    "interface": "vlan10,vlan20,vlan30",
    "ipprotocol": "inet46",
    "statetype": "keep state",
    "source": {
     "any": ""
    },
    "destination": {
     "address": "vpnmesh_4e65d3fb_02",
     "port": "123"
    },
    "descr": "vpnmesh:run-1:block-udp-k8s 03",
    "protocol": "udp",
    "sched": "vpnmesh_4e65d3fb"
   },
   {
    "type": "block",
    "floating": "yes",
    "quick": "yes",
    "direction": "in",
    "interface": "vlan20,vlan30",
    "ipprotocol": "inet46",
    "statetype": "keep state",
    "source": {
     "any": ""
    },
    "destination": {
     "network": "vlan10"
    },
    "descr": "vpnmesh:run-1:block-udp-k8s 04",
    "protocol": "udp",
    "sched": "vpnmesh_4e65d3fb"
   },
   {
    "type": "block",
    "floating": "yes",
    "quick": "yes",
    "direction": "in",
    "interface": "vlan10,vlan30",
    "ipprotocol": "inet46",
    "statetype": "keep state",
    "source": {
     "any": ""
    },
    "destination": {
     "network": "vlan20"
    },
    "descr": "vpnmesh:run-1:block-udp-k8s 05",
    "protocol": "udp",
    "sched": "vpnmesh_4e65d3fb"
   },
   {
    "type": "block",
    "floating": "yes",
    "quick": "yes",
    "direction": "in",
    "interface": "vlan10,vlan20",
    "ipprotocol": "inet46",
    "statetype": "keep state",
    "source": {
     "any": ""
    },
    "destination": {
     "network": "vlan30"
    },
    "descr": "vpnmesh:run-1:block-udp-k8s 06",
    "protocol": "udp",
    "sched": "vpnmesh_4e65d3fb"
   }
  ]
 },
 "why": "vpnmesh:run-1: firewall policy block-udp-k8s",
 "kill": [
  [
   "192.88.99.2",
   "192.88.99.10"
  ],
  [
   "192.88.99.2",
   "192.88.99.18"
  ],
  [
   "192.88.99.10",
   "192.88.99.2"
  ],
  [
   "192.88.99.10",
   "192.88.99.18"
  ],
  [
   "192.88.99.18",
   "192.88.99.2"
  ],
  [
   "192.88.99.18",
   "192.88.99.10"
  ]
 ],
 "paths": {
  "rules": "filter/rule",
  "aliases": "aliases/alias",
  "schedules": "schedules/schedule",
  "mappings": "nat/outbound/rule"
 }
}'), true);
$held = lock('vpnmesh', LOCK_EX);
function vpnmesh_list($path) {
  $found = config_get_path($path, []);
  return is_array($found) ? array_values($found) : [];
}
function vpnmesh_marked($item, $prefix) { return strpos($item['descr'] ?? '', $prefix) === 0; }
if ($job['write']) {
  foreach ($job['paths'] as $section => $path) {
    $before = vpnmesh_list($path);
    $after = array_values(array_filter($before, fn($item) => !vpnmesh_marked($item, $job['prefix'])));
    foreach ($job['objects'][$section] ?? [] as $item) {
      if ($section == 'rules') { $item['tracker'] = (string)(time() + count($after)); }
      if ($section == 'schedules') { $item['schedlabel'] = uniqid(); }
      $after[] = $item;
    }
    if ($after !== $before) { config_set_path($path, $after); $changed = true; }
  }
  if (!empty($changed) || $job['load']) {
    // whoever dies before the rules are loaded leaves this mark, which the next roll back sees
    mark_subsystem_dirty('filter');
    if (!empty($changed)) { write_config($job['why']); }
    filter_configure_sync();
    clear_subsystem_dirty('filter');
    foreach ($job['kill'] as $pair) {
      mwexec('/sbin/pfctl -k ' . escapeshellarg($pair[0]) . ' -k ' . escapeshellarg($pair[1]));
    }
  }
}
$answer = ['revision' => config_get_path('revision', []), 'mode' => config_get_path('nat/outbound/mode', 'automatic'),
  'pending' => is_subsystem_dirty('filter') || is_subsystem_dirty('aliases') || is_subsystem_dirty('natconf'),
  'time' => date('c'), 'sections' => []];
foreach ($job['paths'] as $section => $path) { $answer['sections'][$section] = vpnmesh_list($path); }
unlock($held);
echo "\nvpnmesh-answer " . base64_encode(json_encode($answer)) . "\n";
