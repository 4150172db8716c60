//! The calls that the `virt` crate has not, or not in a usable form: the only unsafe code of the house.
//!
//! No decision is made here. Each function wraps one call, copies what it gave, and frees it.
#![expect(unsafe_code, reason = "libvirt is a C library, and the crate leaves these calls out, ignores their errors or leaks")]

use std::collections::BTreeSet;
use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;

use uuid::Uuid;
use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::Error;
use virt::network::Network;
use virt::stream::Stream;
use virt::sys;

use super::event_loop;
use crate::observe::RawLease;

/// A domain's state and the reason for it, as libvirt's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    /// One of `VIR_DOMAIN_*`.
    pub(super) state: u32,
    /// One of the reasons that go with the state.
    pub(super) reason: u32,
}

/// Closes a connection. `Drop` would panic where libvirt has something to say about it.
pub(super) fn close(connection: Connect) {
    // SAFETY: the pointer is valid as the wrapper holds a reference, which this call gives up in its place: the wrapper is
    // forgotten and never used again.
    unsafe {
        sys::virConnectClose(connection.as_ptr());
    }
    std::mem::forget(connection);
}

/// The states of all domains in one call.
pub(super) fn domain_states(connection: &Connect) -> Result<Vec<(Uuid, State)>, Error> {
    let mut records: *mut sys::virDomainStatsRecordPtr = ptr::null_mut();
    // SAFETY: the connection is valid; libvirt stores a list that is ours to free.
    let count =
        unsafe { sys::virConnectGetAllDomainStats(connection.as_ptr(), sys::VIR_DOMAIN_STATS_STATE, &raw mut records, 0) };
    let Ok(count) = usize::try_from(count) else { return Err(Error::last_error()) };
    let mut states = Vec::with_capacity(count);
    for index in 0..count {
        // SAFETY: libvirt stored `count` valid records, each with a domain and `nparams` parameters; names are C strings.
        unsafe {
            let record = *records.add(index);
            let mut uuid = [0u8; 16];
            let (mut state, mut reason): (c_int, c_int) = (-1, 0);
            let (params, nparams) = ((*record).params, (*record).nparams);
            let found = sys::virTypedParamsGetInt(params, nparams, c"state.state".as_ptr(), &raw mut state);
            sys::virTypedParamsGetInt(params, nparams, c"state.reason".as_ptr(), &raw mut reason);
            if found == 1 && sys::virDomainGetUUID((*record).dom, uuid.as_mut_ptr()) == 0 {
                states.push((Uuid::from_bytes(uuid), State { state: number(state), reason: number(reason) }));
            }
        }
    }
    // SAFETY: the list is libvirt's own, ended by a null pointer as this function expects, and not used after.
    unsafe { sys::virDomainStatsRecordListFree(records) };
    Ok(states)
}

/// One domain's state. The crate's own function forgets to look whether the call failed.
pub(super) fn domain_state(domain: &Domain) -> Result<State, Error> {
    let (mut state, mut reason): (c_int, c_int) = (-1, 0);
    // SAFETY: the domain is valid, and both numbers outlive the call.
    let result = unsafe { sys::virDomainGetState(domain.as_ptr(), &raw mut state, &raw mut reason, 0) };
    if result < 0 { Err(Error::last_error()) } else { Ok(State { state: number(state), reason: number(reason) }) }
}

/// The document that a domain's managed save image brings back, with its secrets or without.
pub(super) fn saved_document(domain: &Domain, secure: bool) -> Result<String, Error> {
    let flags = if secure { sys::VIR_DOMAIN_SAVE_IMAGE_XML_SECURE } else { 0 };
    // SAFETY: the domain is valid; libvirt gives a C string that is ours to free, or null.
    let chars = unsafe { sys::virDomainManagedSaveGetXMLDesc(domain.as_ptr(), flags) };
    // SAFETY: as above.
    let Some(document) = (unsafe { text(chars) }) else { return Err(Error::last_error()) };
    // SAFETY: it comes from C's allocator, and was copied.
    unsafe { free(chars.cast()) };
    Ok(document)
}

/// Who has an address of a running network.
pub(super) fn leases(network: &Network) -> Result<Vec<RawLease>, Error> {
    let mut list: *mut sys::virNetworkDHCPLeasePtr = ptr::null_mut();
    // SAFETY: the network is valid; no MAC means all; libvirt stores a list that is ours to free.
    let count = unsafe { sys::virNetworkGetDHCPLeases(network.as_ptr(), ptr::null(), &raw mut list, 0) };
    let Ok(count) = usize::try_from(count) else { return Err(Error::last_error()) };
    let mut leases = Vec::with_capacity(count);
    for index in 0..count {
        // SAFETY: libvirt stored `count` valid leases; their strings are C strings or null; each is freed once, after its use.
        unsafe {
            let lease = *list.add(index);
            if let (Some(mac), Some(ip)) = (text((*lease).mac), text((*lease).ipaddr)) {
                leases.push(RawLease { mac, ip, hostname: text((*lease).hostname) });
            }
            sys::virNetworkDHCPLeaseFree(lease);
        }
    }
    // SAFETY: the array itself comes from C's allocator, and its elements are gone.
    unsafe { free(list.cast()) };
    Ok(leases)
}

/// The ports that are plugged into a running network.
pub(super) fn ports(network: &Network) -> Result<BTreeSet<Uuid>, Error> {
    let mut list: *mut sys::virNetworkPortPtr = ptr::null_mut();
    // SAFETY: the network is valid; libvirt stores a list that is ours to free.
    let count = unsafe { sys::virNetworkListAllPorts(network.as_ptr(), &raw mut list, 0) };
    let Ok(count) = usize::try_from(count) else { return Err(Error::last_error()) };
    let mut ports = BTreeSet::new();
    for index in 0..count {
        // SAFETY: libvirt stored `count` valid ports; each is freed once, after its use; a UUID has sixteen bytes.
        unsafe {
            let port = *list.add(index);
            let mut uuid = [0u8; 16];
            if sys::virNetworkPortGetUUID(port, uuid.as_mut_ptr()) == 0 {
                ports.insert(Uuid::from_bytes(uuid));
            }
            sys::virNetworkPortFree(port);
        }
    }
    // SAFETY: the array itself comes from C's allocator, and its elements are gone.
    unsafe { free(list.cast()) };
    Ok(ports)
}

/// The addresses that a domain's guest agent tells, loopback left out.
pub(super) fn agent_addresses(domain: &Domain) -> Result<Vec<String>, Error> {
    let mut list: *mut sys::virDomainInterfacePtr = ptr::null_mut();
    let source = sys::VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT;
    // SAFETY: the domain is valid; libvirt stores a list that is ours to free.
    let count = unsafe { sys::virDomainInterfaceAddresses(domain.as_ptr(), &raw mut list, source, 0) };
    let Ok(count) = usize::try_from(count) else { return Err(Error::last_error()) };
    let mut addresses = Vec::new();
    for index in 0..count {
        // SAFETY: libvirt stored `count` valid interfaces, each with `naddrs` addresses; strings are C strings or null; each
        // interface is freed once, after its use.
        unsafe {
            let interface = *list.add(index);
            let loopback = text((*interface).name).as_deref() == Some("lo");
            for address in 0..(*interface).naddrs as usize {
                if let (false, Some(address)) = (loopback, text((*(*interface).addrs.add(address)).addr)) {
                    addresses.push(address);
                }
            }
            sys::virDomainInterfaceFree(interface);
        }
    }
    // SAFETY: the array itself comes from C's allocator, and its elements are gone.
    unsafe { free(list.cast()) };
    Ok(addresses)
}

/// What an event loop calls when a file is ready.
pub(super) type FileFunction = sys::virEventHandleCallback;
/// What an event loop calls when a clock is due.
pub(super) type TimerFunction = sys::virEventTimeoutCallback;

/// A function of libvirt's for an event loop, with what it gets back. Its drop is libvirt's word that it is called no more; libvirt
/// takes its own locks then, so it must hold none.
pub(super) struct Callback<F> {
    function: F,
    opaque: *mut c_void,
    free: sys::virFreeCallback,
}

// SAFETY: an event loop calls from a thread of its own what was registered from another: libvirt's callbacks are made for that.
unsafe impl<F: Send> Send for Callback<F> {}
// SAFETY: as above; the pointer is only ever handed back to libvirt, which guards what is behind it.
unsafe impl<F: Sync> Sync for Callback<F> {}

impl Callback<FileFunction> {
    /// Says what of a file is ready.
    pub(super) fn call(&self, watch: c_int, fd: c_int, events: c_int) {
        if let Some(function) = self.function {
            // SAFETY: libvirt registered the function with this pointer, which it has been told of no drop of yet.
            unsafe { function(watch, fd, events, self.opaque) };
        }
    }
}

impl Callback<TimerFunction> {
    /// Says that a clock is due.
    pub(super) fn call(&self, timer: c_int) {
        if let Some(function) = self.function {
            // SAFETY: libvirt registered the function with this pointer, which it has been told of no drop of yet.
            unsafe { function(timer, self.opaque) };
        }
    }
}

impl<F> Callback<F> {
    /// Gives it back to libvirt, whose it still is where it was refused.
    pub(super) fn leave(mut self) {
        self.free = None;
    }
}

impl<F> Drop for Callback<F> {
    fn drop(&mut self) {
        if let Some(free) = self.free {
            // SAFETY: libvirt registered this for the pointer, and it is called once.
            unsafe { free(self.opaque) };
        }
    }
}

/// Gives libvirt the house's event loop; only before the first connection, and never a second time.
pub(super) fn register_event_loop() {
    // SAFETY: the functions keep what libvirt asks of an event loop, from any thread.
    unsafe {
        sys::virEventRegisterImpl(
            Some(add_file),
            Some(update_file),
            Some(remove_file),
            Some(add_timer),
            Some(update_timer),
            Some(remove_timer),
        );
    }
}

unsafe extern "C" fn add_file(
    fd: c_int,
    events: c_int,
    function: FileFunction,
    opaque: *mut c_void,
    free: sys::virFreeCallback,
) -> c_int {
    // SAFETY: libvirt hands over a descriptor that is open at least until this returns.
    let own = unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned();
    let callback = Callback { function, opaque, free };
    match (event_loop::registered(), own) {
        (Some(the_loop), Ok(own)) => the_loop.add_file(own, fd, events, callback).unwrap_or(-1),
        _ => {
            callback.leave();
            -1
        }
    }
}

unsafe extern "C" fn update_file(watch: c_int, events: c_int) {
    if let Some(the_loop) = event_loop::registered() {
        the_loop.update_file(watch, events);
    }
}

unsafe extern "C" fn remove_file(watch: c_int) -> c_int {
    if event_loop::registered().is_some_and(|the_loop| the_loop.remove_file(watch)) { 0 } else { -1 }
}

unsafe extern "C" fn add_timer(
    milliseconds: c_int,
    function: TimerFunction,
    opaque: *mut c_void,
    free: sys::virFreeCallback,
) -> c_int {
    let callback = Callback { function, opaque, free };
    match event_loop::registered() {
        Some(the_loop) => the_loop.add_timer(milliseconds, callback),
        None => {
            callback.leave();
            -1
        }
    }
}

unsafe extern "C" fn update_timer(timer: c_int, milliseconds: c_int) {
    if let Some(the_loop) = event_loop::registered() {
        the_loop.update_timer(timer, milliseconds);
    }
}

unsafe extern "C" fn remove_timer(timer: c_int) -> c_int {
    if event_loop::registered().is_some_and(|the_loop| the_loop.remove_timer(timer)) { 0 } else { -1 }
}

/// Skips `length` bytes of a sparse stream.
pub(super) fn send_hole(stream: &Stream, length: i64) -> Result<(), Error> {
    // SAFETY: the stream is valid.
    let result = unsafe { sys::virStreamSendHole(stream.as_ptr(), length, 0) };
    if result < 0 { Err(Error::last_error()) } else { Ok(()) }
}

/// What events are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// A domain.
    Domain,
    /// A network.
    Network,
    /// A storage pool.
    Pool,
    /// A secret.
    Secret,
    /// A device of the host's.
    NodeDevice,
}

/// A kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Event {
    /// What it is of.
    pub(super) source: Source,
    /// libvirt's number, one of `VIR_*_EVENT_ID_*` of that source.
    pub(super) id: u32,
}

/// Who is told of an event, of which object it is (by name), and, where it is of a lifecycle, what happened (one of
/// `VIR_*_EVENT_*`). It is called on libvirt's own thread: it may neither wait nor call libvirt.
pub(super) type Listener = Arc<dyn Fn(Event, &str, c_int) + Send + Sync>;
/// Who is told that a connection broke and why, one of `VIR_CONNECT_CLOSE_REASON_*`. As with a [`Listener`].
pub(super) type Broken = Arc<dyn Fn(u32) + Send + Sync>;

/// What libvirt hands back with an event.
struct Registered {
    event: Event,
    listener: Listener,
}

/// Asks for an event of all objects; the answer is libvirt's number for it. The listener is dropped by libvirt, when it no longer
/// calls it.
pub(super) fn register(connection: &Connect, event: Event, listener: Listener) -> Result<c_int, Error> {
    // SAFETY: the pointer is used only as long as the wrapper is borrowed.
    let conn = unsafe { connection.as_ptr() };
    let id = c_int::try_from(event.id).unwrap_or(c_int::MAX);
    let callback = callback(event);
    let opaque: *mut c_void = Box::into_raw(Box::new(Registered { event, listener })).cast();
    // SAFETY: the connection is valid; no object means all. `callback` is null or a function with the parameters that libvirt calls
    // this event's with, which it does by this cast as well; `opaque` is what each of them expects, and `free_registered` frees it.
    let number = unsafe {
        match event.source {
            Source::Domain => {
                let callback = std::mem::transmute::<*const c_void, sys::virConnectDomainEventGenericCallback>(callback);
                sys::virConnectDomainEventRegisterAny(conn, ptr::null_mut(), id, callback, opaque, Some(free_registered))
            }
            Source::Network => {
                let callback = std::mem::transmute::<*const c_void, sys::virConnectNetworkEventGenericCallback>(callback);
                sys::virConnectNetworkEventRegisterAny(conn, ptr::null_mut(), id, callback, opaque, Some(free_registered))
            }
            Source::Pool => {
                let callback = std::mem::transmute::<*const c_void, sys::virConnectStoragePoolEventGenericCallback>(callback);
                sys::virConnectStoragePoolEventRegisterAny(conn, ptr::null_mut(), id, callback, opaque, Some(free_registered))
            }
            Source::Secret => {
                let callback = std::mem::transmute::<*const c_void, sys::virConnectSecretEventGenericCallback>(callback);
                sys::virConnectSecretEventRegisterAny(conn, ptr::null_mut(), id, callback, opaque, Some(free_registered))
            }
            Source::NodeDevice => {
                let callback = std::mem::transmute::<*const c_void, sys::virConnectNodeDeviceEventGenericCallback>(callback);
                sys::virConnectNodeDeviceEventRegisterAny(conn, ptr::null_mut(), id, callback, opaque, Some(free_registered))
            }
        }
    };
    if number >= 0 {
        return Ok(number);
    }
    let error = Error::last_error();
    // SAFETY: libvirt keeps and frees nothing of a registration that failed.
    unsafe { free_registered(opaque) };
    Err(error)
}

/// Takes a registration back. What libvirt has to say about it is of no use: where the daemon is gone, it is gone, too.
pub(super) fn deregister(connection: &Connect, event: Event, number: c_int) {
    // SAFETY: the pointer is used only as long as the wrapper is borrowed.
    let conn = unsafe { connection.as_ptr() };
    // SAFETY: the connection is valid, and the number is that of a registration on it, which is taken back once.
    unsafe {
        match event.source {
            Source::Domain => sys::virConnectDomainEventDeregisterAny(conn, number),
            Source::Network => sys::virConnectNetworkEventDeregisterAny(conn, number),
            Source::Pool => sys::virConnectStoragePoolEventDeregisterAny(conn, number),
            Source::Secret => sys::virConnectSecretEventDeregisterAny(conn, number),
            Source::NodeDevice => sys::virConnectNodeDeviceEventDeregisterAny(conn, number),
        }
    };
}

/// Asks to be told when the connection breaks.
pub(super) fn register_close(connection: &Connect, told: Broken) -> Result<(), Error> {
    let opaque: *mut c_void = Box::into_raw(Box::new(told)).cast();
    // SAFETY: the connection is valid; `opaque` is what `closed` expects, and `free_broken` frees it.
    let result = unsafe { sys::virConnectRegisterCloseCallback(connection.as_ptr(), Some(closed), opaque, Some(free_broken)) };
    if result >= 0 {
        return Ok(());
    }
    let error = Error::last_error();
    // SAFETY: libvirt keeps and frees nothing of a registration that failed.
    unsafe { free_broken(opaque) };
    Err(error)
}

/// Takes that back.
pub(super) fn deregister_close(connection: &Connect) {
    // SAFETY: the connection is valid, and `closed` is what was registered.
    unsafe { sys::virConnectUnregisterCloseCallback(connection.as_ptr(), Some(closed)) };
}

/// Defines a function that libvirt calls with an event: what the event is of, what it says beyond that, which nobody needs, and what
/// was registered with it. With `lifecycle` it says what happened and a detail.
macro_rules! callback {
    ($name:ident, $object:ty, $called:ident, lifecycle) => {
        unsafe extern "C" fn $name(_: sys::virConnectPtr, object: $object, what: c_int, _: c_int, opaque: *mut c_void) -> c_int {
            // SAFETY: libvirt calls this with a valid object, and with what was registered; the name is valid as long as the object.
            unsafe { tell(opaque, sys::$called(object), what) };
            0
        }
    };
    ($name:ident, $object:ty, $called:ident $(, $more:ty)*) => {
        unsafe extern "C" fn $name(_: sys::virConnectPtr, object: $object, $(_: $more,)* opaque: *mut c_void) {
            // SAFETY: libvirt calls this with a valid object, and with what was registered; the name is valid as long as the object.
            unsafe { tell(opaque, sys::$called(object), -1) };
        }
    };
}

type Text = *const c_char;

callback!(domain_lifecycle, sys::virDomainPtr, virDomainGetName, lifecycle);
callback!(domain_plain, sys::virDomainPtr, virDomainGetName);
callback!(domain_number, sys::virDomainPtr, virDomainGetName, c_int);
callback!(domain_unsigned, sys::virDomainPtr, virDomainGetName, c_uint);
callback!(domain_numbers, sys::virDomainPtr, virDomainGetName, c_int, c_int);
callback!(domain_number_text, sys::virDomainPtr, virDomainGetName, c_int, Text);
callback!(domain_text, sys::virDomainPtr, virDomainGetName, Text);
callback!(domain_text_number, sys::virDomainPtr, virDomainGetName, Text, c_int);
callback!(domain_text_numbers, sys::virDomainPtr, virDomainGetName, Text, c_int, c_int);
callback!(domain_text_size, sys::virDomainPtr, virDomainGetName, Text, c_ulonglong);
callback!(domain_texts, sys::virDomainPtr, virDomainGetName, Text, Text, Text);
callback!(domain_texts_number, sys::virDomainPtr, virDomainGetName, Text, Text, Text, c_int);
callback!(domain_error, sys::virDomainPtr, virDomainGetName, Text, Text, c_int, Text);
callback!(domain_params, sys::virDomainPtr, virDomainGetName, sys::virTypedParameterPtr, c_int);
callback!(network_lifecycle, sys::virNetworkPtr, virNetworkGetName, lifecycle);
callback!(network_number_text, sys::virNetworkPtr, virNetworkGetName, c_int, Text);
callback!(pool_lifecycle, sys::virStoragePoolPtr, virStoragePoolGetName, lifecycle);
callback!(pool_plain, sys::virStoragePoolPtr, virStoragePoolGetName);
callback!(secret_lifecycle, sys::virSecretPtr, virSecretGetUsageID, lifecycle);
callback!(secret_plain, sys::virSecretPtr, virSecretGetUsageID);
callback!(device_lifecycle, sys::virNodeDevicePtr, virNodeDeviceGetName, lifecycle);
callback!(device_plain, sys::virNodeDevicePtr, virNodeDeviceGetName);

/// The function for an event, by the parameters that libvirt's documentation of its number gives; null for one that isn't here.
fn callback(event: Event) -> *const c_void {
    match (event.source, event.id) {
        (Source::Domain, sys::VIR_DOMAIN_EVENT_ID_LIFECYCLE) => domain_lifecycle as *const c_void,
        (Source::Domain, sys::VIR_DOMAIN_EVENT_ID_REBOOT | sys::VIR_DOMAIN_EVENT_ID_CONTROL_ERROR) => {
            domain_plain as *const c_void
        }
        (
            Source::Domain,
            sys::VIR_DOMAIN_EVENT_ID_WATCHDOG
            | sys::VIR_DOMAIN_EVENT_ID_PMWAKEUP
            | sys::VIR_DOMAIN_EVENT_ID_PMSUSPEND
            | sys::VIR_DOMAIN_EVENT_ID_PMSUSPEND_DISK,
        ) => domain_number as *const c_void,
        (Source::Domain, sys::VIR_DOMAIN_EVENT_ID_VCPU_REMOVED) => domain_unsigned as *const c_void,
        (Source::Domain, sys::VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE) => domain_numbers as *const c_void,
        (Source::Domain, sys::VIR_DOMAIN_EVENT_ID_METADATA_CHANGE) => domain_number_text as *const c_void,
        (
            Source::Domain,
            sys::VIR_DOMAIN_EVENT_ID_DEVICE_ADDED
            | sys::VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED
            | sys::VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED,
        ) => domain_text as *const c_void,
        (Source::Domain, sys::VIR_DOMAIN_EVENT_ID_TRAY_CHANGE) => domain_text_number as *const c_void,
        (Source::Domain, sys::VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2) => domain_text_numbers as *const c_void,
        (Source::Domain, sys::VIR_DOMAIN_EVENT_ID_MEMORY_DEVICE_SIZE_CHANGE) => domain_text_size as *const c_void,
        (Source::Domain, sys::VIR_DOMAIN_EVENT_ID_NIC_MAC_CHANGE) => domain_texts as *const c_void,
        (Source::Domain, sys::VIR_DOMAIN_EVENT_ID_DISK_CHANGE) => domain_texts_number as *const c_void,
        (Source::Domain, sys::VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON) => domain_error as *const c_void,
        (Source::Domain, sys::VIR_DOMAIN_EVENT_ID_TUNABLE) => domain_params as *const c_void,
        (Source::Network, sys::VIR_NETWORK_EVENT_ID_LIFECYCLE) => network_lifecycle as *const c_void,
        (Source::Network, sys::VIR_NETWORK_EVENT_ID_METADATA_CHANGE) => network_number_text as *const c_void,
        (Source::Pool, sys::VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE) => pool_lifecycle as *const c_void,
        (Source::Pool, sys::VIR_STORAGE_POOL_EVENT_ID_REFRESH) => pool_plain as *const c_void,
        (Source::Secret, sys::VIR_SECRET_EVENT_ID_LIFECYCLE) => secret_lifecycle as *const c_void,
        (Source::Secret, sys::VIR_SECRET_EVENT_ID_VALUE_CHANGED) => secret_plain as *const c_void,
        (Source::NodeDevice, sys::VIR_NODE_DEVICE_EVENT_ID_LIFECYCLE) => device_lifecycle as *const c_void,
        (Source::NodeDevice, sys::VIR_NODE_DEVICE_EVENT_ID_UPDATE) => device_plain as *const c_void,
        _ => ptr::null(),
    }
}

/// Hands an event on.
///
/// # Safety
///
/// `opaque` is a [`Registered`] that lives as long as this call; `name` is null or a C string.
unsafe fn tell(opaque: *mut c_void, name: Text, what: c_int) {
    // SAFETY: by this function's contract; nobody changes it.
    let registered = unsafe { &*opaque.cast::<Registered>() };
    // SAFETY: by this function's contract.
    let name = unsafe { text(name) }.unwrap_or_default();
    // A panic must not find its way into C.
    quietly(|| (registered.listener)(registered.event, &name, what));
}

/// Frees what was registered with an event.
unsafe extern "C" fn free_registered(opaque: *mut c_void) {
    // SAFETY: it was made from a box of this type, and libvirt frees it once.
    let registered = unsafe { Box::from_raw(opaque.cast::<Registered>()) };
    quietly(|| drop(registered));
}

/// Called by libvirt when a connection breaks.
unsafe extern "C" fn closed(_: sys::virConnectPtr, reason: c_int, opaque: *mut c_void) {
    // SAFETY: it was made from a box of this type, which lives as long as this call; nobody changes it.
    let told = unsafe { &*opaque.cast::<Broken>() };
    quietly(|| told(number(reason)));
}

/// Frees what was registered for that.
unsafe extern "C" fn free_broken(opaque: *mut c_void) {
    // SAFETY: it was made from a box of this type, and libvirt frees it once.
    let told = unsafe { Box::from_raw(opaque.cast::<Broken>()) };
    quietly(|| drop(told));
}

/// Runs what C called; a panic ends here, and so does what it carries.
fn quietly(run: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
        std::mem::forget(panic);
    }
}

/// Limits what a disk may read and write.
pub(super) fn set_block_io_tune(domain: &Domain, disk: &CStr, limits: &[(&str, u64)], flags: u32) -> Result<(), Error> {
    let param = |(name, value): &(&str, u64)| {
        let mut field = [0; sys::VIR_TYPED_PARAM_FIELD_LENGTH as usize];
        // Its last byte stays 0, whatever the name is.
        let room = field.len() - 1;
        for (to, from) in field.iter_mut().take(room).zip(name.bytes()) {
            *to = c_char::from_ne_bytes([from]);
        }
        let value = sys::_virTypedParameter__bindgen_ty_1 { ul: *value };
        sys::virTypedParameter { field, type_: sys::VIR_TYPED_PARAM_ULLONG.cast_signed(), value }
    };
    let mut params: Vec<sys::virTypedParameter> = limits.iter().map(param).collect();
    let count = c_int::try_from(params.len()).unwrap_or_default();
    // SAFETY: the domain is valid, the disk's name a C string, and the array holds `count` parameters; all outlive the call.
    let result = unsafe { sys::virDomainSetBlockIoTune(domain.as_ptr(), disk.as_ptr(), params.as_mut_ptr(), count, flags) };
    if result < 0 { Err(Error::last_error()) } else { Ok(()) }
}

/// Copies a C string.
///
/// # Safety
///
/// `chars` is null or a C string.
unsafe fn text(chars: *const c_char) -> Option<String> {
    if chars.is_null() {
        return None;
    }
    // SAFETY: not null, so a C string by this function's contract.
    Some(unsafe { CStr::from_ptr(chars) }.to_string_lossy().into_owned())
}

/// libvirt's numbers of states and reasons are never negative.
fn number(value: c_int) -> u32 {
    u32::try_from(value).unwrap_or(0)
}

/// Has the C library keep one heap for all threads, from here on. By itself it gives every few threads one of their own, and each of them
/// keeps the most that it ever held.
pub(super) fn one_heap() {
    #[cfg(target_env = "gnu")]
    {
        /// `M_ARENA_MAX` of malloc.h.
        const ARENAS_AT_MOST: c_int = -8;
        // SAFETY: it sets a number, and may be called at any time.
        unsafe { mallopt(ARENAS_AT_MOST, 1) };
    }
}

unsafe extern "C" {
    /// C's own, for arrays that libvirt allocated.
    fn free(pointer: *mut c_void);

    #[cfg(target_env = "gnu")]
    fn mallopt(what: c_int, value: c_int) -> c_int;
}
