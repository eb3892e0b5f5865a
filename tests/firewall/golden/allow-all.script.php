<?php
require_once("config.inc"); require_once("util.inc"); require_once("filter.inc"); require_once("interfaces.inc");
$job = json_decode(base64_decode('{
 "write": true,
 "load": false,
 "prefix": "vpnmesh:run-1:",
 "objects": {
  "schedules": [],
  "aliases": [],
  "rules": []
 },
 "why": "vpnmesh:run-1: firewall policy allow-all",
 "kill": [],
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
