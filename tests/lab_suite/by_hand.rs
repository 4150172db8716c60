//! Objects as people make them with virsh: every kind of device that libvirt's documentation shows, on both machine types, beside
//! networks, pools and volumes of every kind. The same each time.
//!
//! What the libvirt at hand refuses to define is told by whoever defines them, with its reason.

use std::path::Path;

/// Something to be defined: what, its name, its document.
pub struct Object {
    pub kind: &'static str,
    pub name: String,
    pub xml: String,
}

/// Devices, each alone in a domain. `@P` stands for the folder of images, `@N` for the number of the domain.
const DEVICES: &[(&str, &str)] = &[
    (
        "disk-virtio",
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='@P/d@N.qcow2'/><target dev='vda' bus='virtio'/></disk>",
    ),
    (
        "disk-raw",
        "<disk type='file' device='disk'><driver name='qemu' type='raw' cache='none' io='native' discard='unmap' detect_zeroes='unmap'/><source file='@P/raw.img'/><target dev='vda' bus='virtio'/><readonly/></disk>",
    ),
    (
        "disk-scsi",
        "<controller type='scsi' index='0' model='virtio-scsi'><driver queues='4'/></controller><disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/nowhere/scsi.img'/><target dev='sda' bus='scsi'/><serial>abc</serial><wwn>5000c50015ea71ad</wwn><vendor>QEMU</vendor><product>DISK</product></disk>",
    ),
    (
        "disk-sata",
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/nowhere/s.img'/><target dev='sda' bus='sata' rotation_rate='1'/></disk>",
    ),
    (
        "disk-ide",
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/nowhere/i.img'/><target dev='hda' bus='ide'/></disk>",
    ),
    (
        "disk-usb",
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/nowhere/u.img'/><target dev='sda' bus='usb' removable='on'/></disk>",
    ),
    ("floppy", "<disk type='file' device='floppy'><source file='/nowhere/f.img'/><target dev='fda' bus='fdc'/></disk>"),
    (
        "cdrom",
        "<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='@P/raw.img' startupPolicy='optional'/><target dev='sdb' bus='sata'/><readonly/></disk>",
    ),
    ("cdrom-empty", "<disk type='file' device='cdrom'><target dev='sdb' bus='sata' tray='open'/><readonly/></disk>"),
    (
        "cdrom-network",
        "<disk type='network' device='cdrom'><driver name='qemu' type='raw'/><source protocol='http' name='url_path'><host name='hostname' port='80'/></source><target dev='hdc' bus='ide'/><readonly/></disk>",
    ),
    (
        "disk-https",
        "<disk type='network' device='cdrom'><driver name='qemu' type='raw'/><source protocol='https' name='x.iso' query='foo=bar'><host name='h' port='443'/><ssl verify='no'/><cookies><cookie name='test'>somevalue</cookie></cookies><readahead size='65536'/><timeout seconds='6'/></source><target dev='hda' bus='ide'/><readonly/></disk>",
    ),
    (
        "disk-rbd",
        "<disk type='network' device='disk'><driver name='qemu' type='raw' io='threads' ioeventfd='on' event_idx='off'/><source protocol='rbd' name='image_name2'><host name='hostname' port='7000'/><snapshot name='snapname'/><config file='/path/to/file'/><auth username='myuser'><secret type='ceph' usage='mypassid'/></auth></source><target dev='hdc' bus='ide'/></disk>",
    ),
    (
        "disk-iscsi",
        "<disk type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='iscsi' name='iqn.2013-07.com.example:iscsi-nopool/2'><host name='example.com' port='3260'/><auth username='myuser'><secret type='iscsi' usage='libvirtiscsi'/></auth><initiator><iqn name='iqn.2013-07.com.example:client'/></initiator></source><target dev='vda' bus='virtio'/></disk>",
    ),
    (
        "disk-nbd",
        "<disk type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='nbd' name='x' tls='no'><host name='h' port='10809'/><reconnect delay='10'/></source><target dev='vda' bus='virtio'/></disk>",
    ),
    (
        "disk-gluster",
        "<disk type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='gluster' name='v/img'><host name='h' port='24007'/></source><target dev='vda' bus='virtio'/></disk>",
    ),
    (
        "disk-ssh",
        "<disk type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='ssh' name='/p/img'><host name='h' port='22'/></source><target dev='vda' bus='virtio'/></disk>",
    ),
    (
        "disk-nfs",
        "<disk type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='nfs' name='PATH'><host name='example.com'/><identity user='USER' group='GROUP'/></source><target dev='vda' bus='virtio'/></disk>",
    ),
    (
        "disk-block",
        "<disk type='block' device='disk'><driver name='qemu' type='raw' queues='4'/><source dev='/dev/nowhere'/><target dev='vda' bus='virtio'/></disk>",
    ),
    (
        "disk-lun",
        "<controller type='scsi' index='0' model='virtio-scsi'/><disk type='block' device='lun' sgio='filtered'><driver name='qemu' type='raw'/><source dev='/dev/nowhere'><reservations managed='yes'/></source><target dev='sda' bus='scsi'/></disk>",
    ),
    (
        "disk-dir",
        "<disk type='dir' device='floppy'><driver name='qemu' type='fat'/><source dir='/var/somefiles'/><target dev='fda'/><readonly/></disk>",
    ),
    (
        "disk-volume",
        "<disk type='volume' device='disk'><driver name='qemu' type='qcow2'/><source pool='hand' volume='shared.qcow2'/><target dev='vdb' bus='virtio'/><readonly/></disk>",
    ),
    (
        "disk-nvme",
        "<disk type='nvme' device='disk'><driver name='qemu' type='raw'/><source type='pci' managed='yes' namespace='1'><address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></source><target dev='vde' bus='virtio'/></disk>",
    ),
    (
        "disk-vhostuser",
        "<disk type='vhostuser' device='disk'><driver name='qemu' type='raw' queues='4'/><source type='unix' path='/tmp/vhost-blk.sock'><reconnect enabled='yes' timeout='10'/></source><target dev='vdf' bus='virtio'/></disk>",
    ),
    (
        "disk-luks",
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/nowhere/luks.img'><encryption format='luks'><secret type='passphrase' uuid='f52a81b2-424e-490c-823d-6bd4235bc572'/></encryption></source><target dev='vda' bus='virtio'/></disk>",
    ),
    (
        "disk-iotune",
        "<disk type='file' device='disk'><driver name='qemu' type='raw' error_policy='stop' rerror_policy='report' copy_on_read='on'/><source file='/nowhere/t.img'/><target dev='vda' bus='virtio'/><iotune><total_bytes_sec>10000000</total_bytes_sec><read_iops_sec>400000</read_iops_sec><write_iops_sec>100000</write_iops_sec></iotune></disk>",
    ),
    (
        "disk-chain",
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'><metadata_cache><max_size unit='bytes'>1234</max_size></metadata_cache></driver><source file='/nowhere/top.qcow2'/><backingStore type='file'><format type='qcow2'/><source file='/nowhere/mid.qcow2'/><backingStore type='file'><format type='raw'/><source file='/nowhere/base.img'/><backingStore/></backingStore></backingStore><target dev='vda' bus='virtio'/></disk>",
    ),
    (
        "disk-shared",
        "<disk type='file' device='disk' snapshot='no'><driver name='qemu' type='raw'/><source file='@P/raw.img'/><target dev='vda' bus='virtio'/><shareable/></disk>",
    ),
    (
        "disk-transient",
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/nowhere/tr.qcow2'/><target dev='vda' bus='virtio'/><transient shareBacking='no'/></disk>",
    ),
    (
        "disk-geometry",
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/nowhere/g.img'/><geometry cyls='16383' heads='16' secs='63' trans='lba'/><blockio logical_block_size='512' physical_block_size='4096'/><target dev='vda' bus='virtio'/></disk>",
    ),
    (
        "disk-boot",
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='@P/d@N.qcow2'/><target dev='vda' bus='virtio'/><boot order='2'/></disk><interface type='network'><mac address='52:54:01:00:@H'/><source network='hand-nat'/><model type='virtio'/><boot order='1'/></interface>",
    ),
    (
        "disk-alias",
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='@P/d@N.qcow2'/><target dev='vda' bus='virtio'/><alias name='ua-mine'/></disk>",
    ),
    (
        "disk-iothread",
        "<disk type='file' device='disk'><driver name='qemu' type='raw' iothread='1'/><source file='/nowhere/io.img'/><target dev='vda' bus='virtio'/></disk>",
    ),
    (
        "disks-many",
        "<controller type='scsi' index='0' model='virtio-scsi'/><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='@P/d@N.qcow2'/><target dev='vda' bus='virtio'/></disk><disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/nowhere/b.img'/><target dev='sda' bus='scsi'/></disk><disk type='file' device='cdrom'><target dev='sdb' bus='sata'/><readonly/></disk><disk type='file' device='disk'><driver name='qemu' type='qcow2' cache='writeback'/><source file='/nowhere/c.qcow2'/><target dev='vdc' bus='virtio'/></disk>",
    ),
    (
        "fs-9p",
        "<filesystem type='mount' accessmode='mapped'><source dir='/export/to/guest'/><target dir='/import/from/host'/></filesystem>",
    ),
    (
        "fs-passthrough",
        "<filesystem type='mount' accessmode='passthrough' multidevs='remap' fmode='644' dmode='755'><driver type='path' wrpolicy='immediate'/><source dir='/export'/><target dir='e'/><readonly/></filesystem>",
    ),
    (
        "controllers",
        "<controller type='scsi' index='0' model='lsilogic'/><controller type='virtio-serial' index='0' ports='16' vectors='4'/><controller type='ccid' index='0'/>",
    ),
    ("controller-usb-nec", "<controller type='usb' index='0' model='nec-xhci' ports='8'/>"),
    (
        "controller-usb-ich9",
        "<controller type='usb' index='0' model='ich9-ehci1'><address type='pci' domain='0' bus='0' slot='7' function='7'/></controller><controller type='usb' index='0' model='ich9-uhci1'><master startport='0'/><address type='pci' domain='0' bus='0' slot='7' function='0' multifunction='on'/></controller><controller type='usb' index='0' model='ich9-uhci2'><master startport='2'/><address type='pci' domain='0' bus='0' slot='7' function='1'/></controller>",
    ),
    ("controller-usb-none", "<controller type='usb' index='0' model='none'/>"),
    (
        "controller-pci",
        "<controller type='pci' index='0' model='pcie-root'/><controller type='pci' index='1' model='pcie-root-port'/><controller type='pci' index='2' model='dmi-to-pci-bridge'/><controller type='pci' index='3' model='pci-bridge'/>",
    ),
    ("controller-pvscsi", "<controller type='scsi' index='0' model='vmpvscsi'/>"),
    (
        "hostdev-usb",
        "<hostdev mode='subsystem' type='usb'><source startupPolicy='optional'><vendor id='0x1234'/><product id='0xbeef'/></source><boot order='2'/></hostdev>",
    ),
    (
        "hostdev-pci",
        "<hostdev mode='subsystem' type='pci' managed='yes'><source writeFiltering='no'><address domain='0x0000' bus='0x06' slot='0x02' function='0x0'/></source><rom bar='on' file='/etc/fake/boot.bin'/></hostdev>",
    ),
    (
        "hostdev-scsi",
        "<controller type='scsi' index='0' model='virtio-scsi'/><hostdev mode='subsystem' type='scsi' sgio='filtered' rawio='yes'><source><adapter name='scsi_host0'/><address bus='0' target='0' unit='0'/></source><readonly/><address type='drive' controller='0' bus='0' target='0' unit='0'/></hostdev>",
    ),
    (
        "hostdev-vhost",
        "<hostdev mode='subsystem' type='scsi_host'><source protocol='vhost' wwpn='naa.50014057667280d8'/></hostdev>",
    ),
    (
        "hostdev-mdev",
        "<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='c2177883-f1bb-47f0-914d-32a22e3a8804'/></source></hostdev>",
    ),
    (
        "redirdev",
        "<controller type='usb' model='qemu-xhci'/><redirdev bus='usb' type='tcp'><source mode='connect' host='localhost' service='4000'/><boot order='1'/></redirdev><redirfilter><usbdev class='0x08' vendor='0x1234' product='0xbeef' version='2.56' allow='yes'/><usbdev allow='no'/></redirfilter>",
    ),
    ("smartcard", "<smartcard mode='host'/>"),
    (
        "smartcard-certs",
        "<smartcard mode='host-certificates'><certificate>cert1</certificate><certificate>cert2</certificate><certificate>cert3</certificate><database>/etc/pki/nssdb/</database></smartcard>",
    ),
    (
        "smartcard-passthrough",
        "<smartcard mode='passthrough' type='tcp'><source mode='bind' host='127.0.0.1' service='2001'/><protocol type='raw'/></smartcard>",
    ),
    (
        "nic-network",
        "<interface type='network'><mac address='52:54:01:00:@H'/><source network='hand-nat'/><model type='virtio'/></interface>",
    ),
    ("nic-default", "<interface type='network'><source network='hand-isolated'/></interface>"),
    (
        "nic-down",
        "<interface type='network'><mac address='52:54:01:00:@H'/><source network='hand-nat'/><model type='e1000'/><link state='down'/></interface>",
    ),
    (
        "nic-missing",
        "<interface type='network'><mac address='52:54:01:00:@H'/><source network='never-defined'/><model type='virtio'/></interface>",
    ),
    (
        "nic-tuned",
        "<interface type='network'><mac address='52:54:01:00:@H'/><source network='hand-nat'/><model type='virtio'/><driver name='vhost' txmode='iothread' ioeventfd='on' event_idx='off' queues='5' rx_queue_size='256' tx_queue_size='256'><host csum='off' gso='off'/><guest csum='off' tso4='off'/></driver><bandwidth><inbound average='1000' peak='5000' burst='1024'/><outbound average='128' peak='256' burst='256'/></bandwidth><mtu size='1400'/><coalesce><rx><frames max='7'/></rx></coalesce><filterref filter='clean-traffic'><parameter name='IP' value='10.0.0.1'/></filterref></interface>",
    ),
    (
        "nic-target",
        "<interface type='network'><mac address='52:54:01:00:@H'/><source network='hand-nat'/><target dev='hand@N'/><model type='virtio'/><port isolated='yes'/><rom enabled='no'/></interface>",
    ),
    (
        "nic-portgroup",
        "<interface type='network' trustGuestRxFilters='yes'><mac address='52:54:01:00:@H'/><source network='hand-portgroups' portgroup='engineering'/><model type='virtio'/></interface>",
    ),
    (
        "nic-alias",
        "<interface type='network'><mac address='52:54:01:00:@H'/><source network='hand-nat'/><model type='virtio'/><alias name='ua-lan0'/></interface>",
    ),
    (
        "nic-bridge",
        "<interface type='bridge'><mac address='52:54:01:00:@H'/><source bridge='br0'/><model type='virtio'/></interface>",
    ),
    (
        "nic-ovs",
        "<interface type='bridge'><mac address='52:54:01:00:@H'/><source bridge='ovsbr'/><virtualport type='openvswitch'><parameters profileid='menial' interfaceid='09b11c53-8b5c-4eeb-8f00-d84eaa0aaa4f'/></virtualport><vlan trunk='yes'><tag id='42'/><tag id='47' nativeMode='untagged'/></vlan></interface>",
    ),
    (
        "nic-direct",
        "<interface type='direct' trustGuestRxFilters='no'><mac address='52:54:01:00:@H'/><source dev='eth0' mode='vepa'/><model type='virtio'/></interface>",
    ),
    (
        "nic-direct-passthrough",
        "<interface type='direct'><mac address='52:54:01:00:@H'/><source dev='eth0.2' mode='passthrough'/><virtualport type='802.1Qbh'><parameters profileid='finance'/></virtualport></interface>",
    ),
    ("nic-user", "<interface type='user'><mac address='52:54:01:00:@H'/><model type='rtl8139'/></interface>"),
    (
        "nic-ethernet",
        "<interface type='ethernet'><mac address='52:54:01:00:@H'/><target dev='mytap1' managed='no'/><script path='/etc/qemu-ifup-mynet'/><model type='virtio'/></interface>",
    ),
    ("nic-mcast", "<interface type='mcast'><mac address='52:54:01:00:@H'/><source address='230.0.0.1' port='5558'/></interface>"),
    (
        "nic-server",
        "<interface type='server'><mac address='52:54:01:00:@H'/><source address='192.168.0.1' port='5558'/></interface>",
    ),
    (
        "nic-client",
        "<interface type='client'><mac address='52:54:01:00:@H'/><source address='192.168.0.1' port='5558'/></interface>",
    ),
    (
        "nic-udp",
        "<interface type='udp'><mac address='52:54:01:00:@H'/><source address='127.0.0.1' port='11115'><local address='127.0.0.1' port='11116'/></source></interface>",
    ),
    (
        "nic-vhostuser",
        "<interface type='vhostuser'><mac address='52:54:01:00:@H'/><source type='unix' path='/tmp/vhost1.sock' mode='server'/><model type='virtio'/></interface>",
    ),
    ("nic-vdpa", "<interface type='vdpa'><mac address='52:54:01:00:@H'/><source dev='/dev/vhost-vdpa-0'/></interface>"),
    (
        "nic-hostdev",
        "<interface type='hostdev' managed='yes'><mac address='52:54:01:00:@H'/><source><address type='pci' domain='0x0000' bus='0x00' slot='0x07' function='0x0'/></source><virtualport type='802.1Qbh'><parameters profileid='finance'/></virtualport></interface>",
    ),
    (
        "nic-teaming",
        "<interface type='network'><mac address='52:54:01:00:@H'/><source network='hand-nat'/><model type='virtio'/><teaming type='persistent'/><alias name='ua-backup0'/></interface>",
    ),
    (
        "nics-many",
        "<interface type='network'><mac address='52:54:01:00:@H'/><source network='hand-nat'/><model type='virtio'/></interface><interface type='network'><mac address='52:54:02:00:@H'/><source network='hand-isolated'/><model type='e1000e'/></interface><interface type='bridge'><mac address='52:54:03:00:@H'/><source bridge='br1'/><model type='virtio'/></interface>",
    ),
    ("input", "<input type='tablet' bus='usb'/><input type='keyboard' bus='virtio'/><input type='mouse' bus='usb'/>"),
    (
        "input-passthrough",
        "<input type='passthrough' bus='virtio'><source evdev='/dev/input/event1'/></input><input type='evdev'><source dev='/dev/input/event2' grab='all' grabToggle='ctrl-ctrl' repeat='on'/></input>",
    ),
    ("hub", "<hub type='usb'/>"),
    ("vnc", "<graphics type='vnc' port='-1' autoport='yes' listen='127.0.0.1'/>"),
    (
        "vnc-port",
        "<graphics type='vnc' port='5977' autoport='no' listen='0.0.0.0' keymap='de' sharePolicy='allow-exclusive'><listen type='address' address='0.0.0.0'/></graphics>",
    ),
    ("vnc-password", "<graphics type='vnc' port='-1' autoport='yes' passwd='CANARY42' passwdValidTo='2030-04-09T15:51:00'/>"),
    ("vnc-socket", "<graphics type='vnc' socket='/tmp/hand@N.sock'/>"),
    ("vnc-network", "<graphics type='vnc' autoport='yes'><listen type='network' network='hand-nat'/></graphics>"),
    ("vnc-none", "<graphics type='vnc'><listen type='none'/></graphics>"),
    (
        "spice",
        "<graphics type='spice' autoport='yes' passwd='CANARY43'><channel name='main' mode='secure'/><image compression='auto_glz'/><streaming mode='filter'/><clipboard copypaste='no'/><mouse mode='client'/><filetransfer enable='no'/></graphics>",
    ),
    ("sdl", "<graphics type='sdl' display=':0.0' xauth='/root/.Xauthority'/>"),
    ("egl", "<graphics type='egl-headless'><gl rendernode='/dev/dri/renderD128'/></graphics>"),
    ("dbus", "<graphics type='dbus' address='unix:path=/x'/>"),
    ("video-vga", "<video><model type='vga' vram='16384' heads='1' primary='yes'/></video>"),
    ("video-cirrus", "<video><model type='cirrus'/></video>"),
    ("video-vmvga", "<video><model type='vmvga' vram='16384'/></video>"),
    (
        "video-qxl",
        "<video><model type='qxl' ram='65536' vram='65536' vgamem='16384' heads='2'/></video><video><model type='qxl'/></video>",
    ),
    (
        "video-virtio",
        "<video><model type='virtio' heads='2'><acceleration accel3d='no'/><resolution x='800' y='600'/></model><alias name='ua-video'/></video>",
    ),
    ("video-bochs", "<video><model type='bochs'/></video>"),
    ("video-none", "<graphics type='vnc'/><video><model type='none'/></video>"),
    ("serial-pty", "<serial type='pty'><target port='0'/></serial>"),
    (
        "serial-file",
        "<serial type='file'><source path='/tmp/s@N.log' append='on'/><target port='0'/></serial><serial type='null'><target port='1'/></serial>",
    ),
    (
        "serial-tcp",
        "<serial type='tcp'><source mode='bind' host='127.0.0.1' service='24@N' tls='no'/><protocol type='telnet'/><log file='/tmp/l' append='off'/></serial>",
    ),
    (
        "serial-udp",
        "<serial type='udp'><source mode='bind' host='0.0.0.0' service='2445'/><source mode='connect' host='0.0.0.0' service='2445'/></serial>",
    ),
    ("serial-unix", "<serial type='unix'><source mode='bind' path='/tmp/u@N'/></serial>"),
    ("serial-pipe", "<serial type='pipe'><source path='/tmp/mypipe'/></serial>"),
    ("serial-dev", "<serial type='dev'><source path='/dev/ttyS0'/><target type='isa-serial'/></serial>"),
    ("serial-usb", "<serial type='pty'><target type='usb-serial'/></serial>"),
    ("serial-pci", "<serial type='pty'><target type='pci-serial'/></serial>"),
    ("serial-debug", "<serial type='pty'><target type='isa-debug'/></serial>"),
    ("parallel", "<parallel type='pty'><target port='0'/></parallel>"),
    (
        "console",
        "<console type='pty'><target type='serial' port='0'/></console><console type='pty'><target type='virtio' port='1'/></console>",
    ),
    (
        "channel",
        "<channel type='unix'><source mode='bind' path='/tmp/c@N'/><target type='virtio' name='org.somebody.port.0'/></channel><channel type='pty'><target type='virtio' name='arbitrary.virtio.serial.port.name'/></channel>",
    ),
    ("channel-agent", "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"),
    (
        "channel-spice",
        "<graphics type='spice'/><channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/></channel>",
    ),
    (
        "channel-vdagent",
        "<channel type='qemu-vdagent'><source><clipboard copypaste='yes'/><mouse mode='client'/></source><target type='virtio' name='com.redhat.spice.0'/></channel>",
    ),
    (
        "channel-guestfwd",
        "<channel type='unix'><source mode='bind' path='/tmp/guestfwd'/><target type='guestfwd' address='10.0.2.1' port='4600'/></channel>",
    ),
    ("sound-ich6", "<sound model='ich6'><codec type='micro'/></sound>"),
    ("sound-ich9", "<sound model='ich9'/>"),
    ("sound-ac97", "<sound model='ac97'/>"),
    ("sound-es1370", "<sound model='es1370'/><sound model='sb16'/>"),
    ("sound-usb", "<sound model='usb' multichannel='yes'/>"),
    (
        "audio",
        "<sound model='ich9'><audio id='1'/></sound><audio id='1' type='file' path='/tmp/a.wav'><input mixingEngine='no'/></audio>",
    ),
    ("watchdog-i6300esb", "<watchdog model='i6300esb' action='poweroff'/>"),
    ("watchdog-ib700", "<watchdog model='ib700'/>"),
    ("balloon-none", "<memballoon model='none'/>"),
    (
        "balloon-stats",
        "<memballoon model='virtio' autodeflate='on' freePageReporting='on'><stats period='10'/><driver iommu='off' ats='off'/></memballoon>",
    ),
    ("rng", "<rng model='virtio'><rate period='2000' bytes='1234'/><backend model='random'>/dev/random</backend></rng>"),
    (
        "rng-egd",
        "<rng model='virtio'><backend model='egd' type='udp'><source mode='bind' service='1234'/><source mode='connect' host='1.2.3.4' service='1234'/></backend></rng><rng model='virtio'><backend model='builtin'/></rng>",
    ),
    ("tpm-passthrough", "<tpm model='tpm-tis'><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>"),
    ("tpm-emulator", "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>"),
    ("panic", "<panic model='isa'><address type='isa' iobase='0x505'/></panic>"),
    ("panic-hyperv", "<panic model='hyperv'/><panic model='isa'/>"),
    ("shmem", "<shmem name='my_shmem0'><model type='ivshmem-plain'/><size unit='M'>4</size></shmem>"),
    (
        "shmem-server",
        "<shmem name='shmem_server'><model type='ivshmem-doorbell'/><size unit='M'>2</size><server path='/tmp/socket-shmem'/><msi vectors='32' ioeventfd='on'/></shmem>",
    ),
    ("vsock", "<vsock model='virtio'><cid auto='no' address='3@N'/></vsock>"),
    ("iommu", "<iommu model='intel'><driver intremap='on' caching_mode='on' iotlb='on'/></iommu>"),
    ("crypto", "<crypto model='virtio' type='qemu'><backend model='builtin' queues='1'/></crypto>"),
    ("lease", "<lease><lockspace>somearea</lockspace><key>somekey</key><target path='/some/lease/path' offset='1024'/></lease>"),
    ("nothing", ""),
];

/// What stands beside the devices, each alone in a domain.
const PARTS: &[(&str, &str)] = &[
    ("cpu-host", "<cpu mode='host-passthrough' check='none' migratable='off'/>"),
    ("cpu-model", "<cpu mode='host-model' check='partial'/>"),
    (
        "cpu-custom",
        "<cpu match='exact' mode='custom'><model fallback='forbid'>core2duo</model><vendor>Intel</vendor><topology sockets='1' dies='1' cores='2' threads='1'/><cache level='3' mode='emulate'/><feature policy='disable' name='lahf_lm'/></cpu>",
    ),
    ("cpu-maximum", "<cpu mode='maximum'/>"),
    (
        "numa",
        "<cpu><numa><cell id='0' cpus='0' memory='32768' unit='KiB' discard='yes'/><cell id='1' cpus='1' memory='32768' unit='KiB' memAccess='shared'><distances><sibling id='0' value='21'/><sibling id='1' value='10'/></distances></cell></numa></cpu>",
    ),
    (
        "cputune",
        "<cputune><shares>2048</shares><period>1000000</period><quota>-1</quota><emulator_period>1000000</emulator_period><emulator_quota>-1</emulator_quota><vcpupin vcpu='0' cpuset='0-1'/><emulatorpin cpuset='1'/><vcpusched vcpus='0-1' scheduler='fifo' priority='1'/></cputune>",
    ),
    (
        "iothreads",
        "<iothreads>2</iothreads><iothreadids><iothread id='2' thread_pool_min='8' thread_pool_max='16'/><iothread id='4'/></iothreadids>",
    ),
    (
        "memory-tuned",
        "<memtune><hard_limit unit='G'>1</hard_limit><soft_limit unit='M'>128</soft_limit></memtune><memoryBacking><nosharepages/><locked/><source type='memfd'/><access mode='shared'/><allocation mode='immediate' threads='2'/><discard/></memoryBacking>",
    ),
    ("hugepages", "<memoryBacking><hugepages><page size='2048' unit='KiB'/></hugepages></memoryBacking>"),
    ("numatune", "<numatune><memory mode='strict' nodeset='0'/></numatune>"),
    ("blkiotune", "<blkiotune><weight>800</weight><device><path>/dev/sda</path><weight>1000</weight></device></blkiotune>"),
    ("resource", "<resource><partition>/virtualmachines/production</partition></resource>"),
    (
        "clock",
        "<clock offset='localtime'><timer name='rtc' tickpolicy='catchup' track='guest'><catchup threshold='123' slew='120' limit='10000'/></timer><timer name='pit' tickpolicy='delay'/><timer name='hpet' present='no'/></clock>",
    ),
    ("clock-variable", "<clock offset='variable' adjustment='123456' basis='utc'/>"),
    ("clock-zone", "<clock offset='timezone' timezone='Europe/Paris'/>"),
    (
        "features",
        "<features><pae/><acpi/><apic eoi='on'/><hap state='on'/><privnet/><hyperv mode='custom'><relaxed state='on'/><vapic state='on'/><spinlocks state='on' retries='4096'/><vpindex state='on'/><vendor_id state='on' value='KVM Hv'/></hyperv><kvm><hidden state='on'/></kvm><pvspinlock state='on'/><vmport state='off'/><smm state='off'/><vmcoreinfo state='on'/></features>",
    ),
    ("pm", "<pm><suspend-to-disk enabled='no'/><suspend-to-mem enabled='yes'/></pm>"),
    ("perf", "<perf><event name='cmt' enabled='no'/></perf>"),
    ("events", "<on_poweroff>destroy</on_poweroff><on_reboot>destroy</on_reboot><on_crash>coredump-restart</on_crash>"),
    (
        "sysinfo",
        "<sysinfo type='smbios'><bios><entry name='vendor'>LENOVO</entry></bios><system><entry name='manufacturer'>Fedora</entry><entry name='product'>Virt-Manager</entry></system><baseBoard><entry name='manufacturer'>LENOVO</entry></baseBoard><chassis><entry name='manufacturer'>Dell Inc.</entry></chassis><oemStrings><entry>myappname:some arbitrary data</entry><entry>otherappname:more arbitrary data</entry></oemStrings></sysinfo>",
    ),
    ("fwcfg", "<sysinfo type='fwcfg'><entry name='opt/com.example/name'>example value</entry></sysinfo>"),
    ("genid", "<genid>43dc0cf8-809b-4adb-9bea-a9abb5f3d90e</genid>"),
    ("seclabel", "<seclabel type='none' model='none'/>"),
    (
        "texts",
        "<title>A short description</title><description>Some human\n  readable description &amp; more</description><metadata><app1:foo xmlns:app1='http://app1.org/app1/'>..</app1:foo><app2:bar xmlns:app2='http://app1.org/app2/'><app2:x/></app2:bar></metadata>",
    ),
    ("vcpus", "<vcpus><vcpu id='0' enabled='yes' hotpluggable='no'/><vcpu id='1' enabled='no' hotpluggable='yes'/></vcpus>"),
    (
        "max-memory",
        "<maxMemory slots='16' unit='MiB'>512</maxMemory><cpu><numa><cell id='0' cpus='0-1' memory='65536' unit='KiB'/></numa></cpu>",
    ),
    (
        "commandline",
        "<qemu:commandline xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><qemu:arg value='-newarg'/><qemu:arg value='parameter'/><qemu:env name='ID' value='wibble'/></qemu:commandline>",
    ),
    (
        "sev",
        "<launchSecurity type='sev'><policy>0x0001</policy><cbitpos>47</cbitpos><reducedPhysBits>1</reducedPhysBits></launchSecurity>",
    ),
    ("current-memory", "<currentMemory unit='MiB'>32</currentMemory>"),
];

/// What stands in `<os>`, each alone in a domain.
const BOOTS: &[(&str, &str)] = &[
    (
        "boot-order",
        "<boot dev='cdrom'/><boot dev='network'/><boot dev='hd'/><bootmenu enable='yes' timeout='3000'/><smbios mode='sysinfo'/><bios useserial='yes' rebootTimeout='0'/>",
    ),
    (
        "boot-kernel",
        "<kernel>/root/f8-i386-vmlinuz</kernel><initrd>/root/f8-i386-initrd</initrd><cmdline>console=ttyS0 ks=http://example.com/f8-i386/os/</cmdline>",
    ),
    ("boot-rom", "<loader readonly='yes' type='rom'>/usr/share/seabios/bios.bin</loader>"),
    (
        "boot-pflash",
        "<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader><nvram template='/usr/share/OVMF/OVMF_VARS_4M.fd'>/var/lib/libvirt/qemu/nvram/hand_VARS.fd</nvram>",
    ),
];

/// Networks, by name.
const NETWORKS: &[(&str, &str)] = &[
    (
        "hand-nat",
        "<forward mode='nat'><nat><port start='1024' end='65535'/></nat></forward><bridge name='hand0' stp='on' delay='0'/><domain name='hand.example' localOnly='yes'/><ip address='198.18.100.1' netmask='255.255.255.0'><dhcp><range start='198.18.100.10' end='198.18.100.99'><lease expiry='1' unit='hours'/></range><host mac='52:54:00:aa:00:01' name='printer' ip='198.18.100.5'/></dhcp></ip>",
    ),
    ("hand-isolated", "<bridge name='hand1'/><ip address='198.18.101.1' prefix='24'/>"),
    (
        "hand-route",
        "<forward mode='route' dev='eth9'/><bridge name='hand2'/><ip address='198.18.102.1' netmask='255.255.255.0'/>",
    ),
    ("hand-open", "<forward mode='open'/><bridge name='hand3'/><ip address='198.18.103.1' netmask='255.255.255.0'/>"),
    ("hand-bridge", "<forward mode='bridge'/><bridge name='br0'/>"),
    (
        "hand-ovs",
        "<forward mode='bridge'/><bridge name='ovsbr0'/><virtualport type='openvswitch'/><portgroup name='vlan-01' default='yes'><vlan><tag id='42'/></vlan></portgroup>",
    ),
    ("hand-macvtap", "<forward mode='bridge'><interface dev='eth20'/><interface dev='eth21'/></forward>"),
    ("hand-private", "<forward mode='private'><interface dev='eth22'/></forward>"),
    (
        "hand-vepa",
        "<forward mode='vepa'><interface dev='eth23'/></forward><virtualport type='802.1Qbg'><parameters managerid='11' typeid='1193047' typeidversion='2'/></virtualport>",
    ),
    ("hand-passthrough", "<forward mode='passthrough'><interface dev='eth24'/></forward>"),
    (
        "hand-hostdev",
        "<forward mode='hostdev' managed='yes'><driver name='vfio'/><address type='pci' domain='0' bus='4' slot='0' function='1'/></forward>",
    ),
    (
        "hand-portgroups",
        "<forward mode='nat'/><bridge name='hand4'/><ip address='198.18.104.1' netmask='255.255.255.0'/><portgroup name='engineering' default='yes'><bandwidth><inbound average='1000' peak='5000' burst='5120'/></bandwidth></portgroup><portgroup name='sales' trustGuestRxFilters='no'/>",
    ),
    (
        "hand-dns",
        "<forward mode='nat'/><bridge name='hand5'/><dns enable='yes' forwardPlainNames='no'><forwarder addr='198.18.0.53'/><forwarder domain='example.com' addr='198.18.0.54'/><txt name='example' value='example value'/><srv service='name' protocol='tcp' domain='test-domain-name' target='.' port='1024' priority='10' weight='10'/><host ip='198.18.105.2'><hostname>myhost</hostname><hostname>myhostalias</hostname></host></dns><ip address='198.18.105.1' netmask='255.255.255.0'/>",
    ),
    (
        "hand-ipv6",
        "<forward mode='route'/><bridge name='hand6'/><ip address='198.18.106.1' netmask='255.255.255.0'/><ip family='ipv6' address='fd00:106::1' prefix='64'><dhcp><range start='fd00:106::10' end='fd00:106::ff'/><host id='0:4:7e:7d:f0:7d:a8:bc:c5:d2:13:32:11:ed:16:ea:84:63' name='paul' ip='fd00:106::20'/></dhcp></ip>",
    ),
    (
        "hand-nodhcp",
        "<forward mode='nat'/><bridge name='hand7'/><mtu size='9000'/><ip address='198.18.107.1' netmask='255.255.255.0' localPtr='yes'/><route address='198.18.200.0' prefix='24' gateway='198.18.107.2'/>",
    ),
    (
        "hand-bandwidth",
        "<forward mode='nat'/><bridge name='hand8' zone=''/><bandwidth><inbound average='1000' peak='5000' burst='5120'/><outbound average='128' peak='256' burst='256'/></bandwidth><ip address='198.18.108.1' netmask='255.255.255.0'/>",
    ),
    (
        "hand-tftp",
        "<forward mode='nat'/><bridge name='hand9'/><ip address='198.18.109.1' netmask='255.255.255.0'><tftp root='/srv/tftp'/><dhcp><range start='198.18.109.2' end='198.18.109.254'/><bootp file='pxeboot.img' server='198.18.109.9'/></dhcp></ip>",
    ),
    ("hand-mac", "<bridge name='hand10' macTableManager='libvirt'/><mac address='52:54:00:aa:bb:cc'/><port isolated='yes'/>"),
    ("hand-metadata", "<metadata><app:x xmlns:app='urn:app'>kept</app:x></metadata><bridge name='hand11'/>"),
    ("hand-empty", "<bridge name='hand12'/>"),
    (
        "hand-dnsmasq",
        "<dnsmasq:options xmlns:dnsmasq='http://libvirt.org/schemas/network/dnsmasq/1.0'><dnsmasq:option value='foo=bar'/></dnsmasq:options><bridge name='hand13'/>",
    ),
    ("Hand Net Ünit", "<forward mode='nat'/><bridge name='hand14'/><ip address='198.18.114.1' netmask='255.255.255.0'/>"),
];

/// Pools, by name; the first two are folders that run.
const POOLS: &[(&str, &str)] = &[
    ("hand", "<pool type='dir'><name>hand</name><target><path>@P</path></target></pool>"),
    (
        "Hand Second",
        "<pool type='dir'><name>Hand Second</name><target><path>@P2</path><permissions><mode>0711</mode><owner>0</owner><group>0</group></permissions></target></pool>",
    ),
    (
        "hand-fs",
        "<pool type='fs'><name>hand-fs</name><source><device path='/dev/VolGroup00/VirtImages'/><format type='ext4'/></source><target><path>/srv/hand-fs</path></target></pool>",
    ),
    (
        "hand-nfs",
        "<pool type='netfs'><name>hand-nfs</name><source><host name='nfs.example.com'/><dir path='/var/lib/virt/images'/><format type='nfs'/></source><target><path>/srv/hand-nfs</path></target></pool>",
    ),
    (
        "hand-logical",
        "<pool type='logical'><name>hand-logical</name><source><device path='/dev/sda1'/><device path='/dev/sdb1'/><name>HostVG</name><format type='lvm2'/></source><target><path>/dev/HostVG</path></target></pool>",
    ),
    (
        "hand-disk",
        "<pool type='disk'><name>hand-disk</name><source><device path='/dev/sdz'/><format type='gpt'/></source><target><path>/dev</path></target></pool>",
    ),
    (
        "hand-iscsi",
        "<pool type='iscsi'><name>hand-iscsi</name><source><host name='iscsi.example.com'/><device path='iqn.2013-06.com.example:iscsi-pool'/></source><target><path>/dev/disk/by-path</path></target></pool>",
    ),
    (
        "hand-iscsi-direct",
        "<pool type='iscsi-direct'><name>hand-iscsi-direct</name><source><host name='iscsi.example.com'/><device path='iqn.2013-06.com.example:iscsi-pool'/><initiator><iqn name='iqn.2013-06.com.example:iscsi-initiator'/></initiator></source></pool>",
    ),
    (
        "hand-scsi",
        "<pool type='scsi'><name>hand-scsi</name><source><adapter type='scsi_host' name='scsi_host7'/></source><target><path>/dev/disk/by-id</path></target></pool>",
    ),
    ("hand-mpath", "<pool type='mpath'><name>hand-mpath</name><target><path>/dev/mapper</path></target></pool>"),
    (
        "hand-rbd",
        "<pool type='rbd'><name>hand-rbd</name><source><host name='1.2.3.4' port='6789'/><name>rbdpool</name><auth username='admin' type='ceph'><secret uuid='2ec115d7-3a88-3ceb-bc12-0ac909a6fd87'/></auth></source></pool>",
    ),
    (
        "hand-sheepdog",
        "<pool type='sheepdog'><name>hand-sheepdog</name><source><host name='localhost' port='7000'/><name>mysheeppool</name></source></pool>",
    ),
    (
        "hand-gluster",
        "<pool type='gluster'><name>hand-gluster</name><source><host name='localhost'/><name>volname</name><dir path='/'/></source></pool>",
    ),
    ("hand-zfs", "<pool type='zfs'><name>hand-zfs</name><source><name>zfspool</name></source></pool>"),
    (
        "hand-vstorage",
        "<pool type='vstorage'><name>hand-vstorage</name><source><name>c1</name></source><target><path>/mnt/c1</path></target></pool>",
    ),
];

/// Pools whose folders are `images/hand` and `images/hand2` of the node, and run once they are built and started.
pub fn pools(folder: &Path) -> Vec<Object> {
    let (one, two) = (folder.join("hand"), folder.join("hand2"));
    let xml = |text: &str| text.replace("@P2", &two.to_string_lossy()).replace("@P", &one.to_string_lossy());
    POOLS.iter().map(|(name, text)| Object { kind: "pool", name: (*name).into(), xml: xml(text) }).collect()
}

/// Networks.
pub fn networks() -> Vec<Object> {
    NETWORKS
        .iter()
        .map(|(name, rest)| Object {
            kind: "net",
            name: (*name).into(),
            // Options of dnsmasq's need their namespace on the root.
            xml: format!("<network><name>{name}</name>{rest}</network>"),
        })
        .collect()
}

/// Volumes of the pool `hand`: one for each domain that writes to one, and of each kind.
pub fn volumes(folder: &Path, domains: usize) -> Vec<Object> {
    let volume = |name: &str, rest: &str| Object {
        kind: "vol",
        name: name.to_owned(),
        xml: format!("<volume><name>{name}</name><capacity unit='bytes'>1048576</capacity>{rest}</volume>"),
    };
    let format = |format: &str| format!("<target><format type='{format}'/></target>");
    let base = folder.join("hand/base.img");
    let mut all = vec![
        volume("base.img", &format("raw")),
        volume("raw.img", &format("raw")),
        volume("shared.qcow2", &format("qcow2")),
        volume("Über Größe.qcow2", &format("qcow2")),
        volume("no-extension", &format("raw")),
        volume("other.vmdk", &format("vmdk")),
        volume("old.qcow", &format("qcow")),
        volume("some.vdi", &format("vdi")),
        volume("x.iso", &format("raw")),
        volume(
            "overlay.qcow2",
            &format!("{}<backingStore><path>{}</path><format type='raw'/></backingStore>", format("qcow2"), base.display()),
        ),
    ];
    // As many as there are domains, since nobody knows which of them write.
    all.extend((0..domains).filter(|n| n % 8 == 0).map(|n| volume(&format!("spare{n}.qcow2"), &format("qcow2"))));
    all.extend(domains_with("@P/d@N.qcow2").into_iter().map(|n| volume(&format!("d{n}.qcow2"), &format("qcow2"))));
    all
}

/// The numbers of the domains in whose devices this stands.
fn domains_with(what: &str) -> Vec<usize> {
    let mut all = Vec::new();
    for (at, (_, devices)) in DEVICES.iter().enumerate() {
        if devices.contains(what) {
            all.extend([2 * at, 2 * at + 1]);
        }
    }
    all
}

/// Domains: every device on both machine types, and every part and way to boot.
pub fn domains(folder: &Path) -> Vec<Object> {
    let path = folder.join("hand").to_string_lossy().into_owned();
    let domain = |number: usize, label: &str, machine: &str, parts: &str, os: &str, devices: &str| {
        // Some names are none that an object could have.
        let name = match number % 11 {
            3 => format!("Hand {label}_{machine}"),
            7 => format!("häñd.{label}..{machine}"),
            _ => format!("hand-{label}-{machine}"),
        };
        let namespace = if parts.contains("qemu:") { " xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'" } else { "" };
        let vcpu = if label == "vcpus" { "<vcpu current='1'>2</vcpu>" } else { "<vcpu>2</vcpu>" };
        let iothreads = if label == "disk-iothread" { "<iothreads>1</iothreads>" } else { "" };
        let shared = if label == "nic-vhostuser" || label == "disk-vhostuser" {
            "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"
        } else {
            ""
        };
        let xml = format!(
            "<domain type='qemu'{namespace}><name>{name}</name><memory unit='MiB'>64</memory>{vcpu}{iothreads}{shared}\
             <os><type arch='x86_64' machine='{machine}'>hvm</type>{os}</os>{parts}<devices>{devices}</devices></domain>"
        );
        let hex = format!("{:02x}:{:02x}", number / 256, number % 256);
        let xml = xml.replace("@P", &path).replace("@N", &number.to_string()).replace("@H", &hex);
        Object { kind: "domain", name, xml }
    };
    let mut all = Vec::new();
    for (label, devices) in DEVICES {
        for machine in ["q35", "pc"] {
            all.push(domain(all.len(), label, machine, "", "", devices));
        }
    }
    for (label, parts) in PARTS {
        all.push(domain(all.len(), label, "q35", parts, "", "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/nowhere/p.img'/><target dev='vda' bus='virtio'/></disk>"));
    }
    for (label, os) in BOOTS {
        all.push(domain(all.len(), label, "q35", "", os, ""));
    }
    all
}
