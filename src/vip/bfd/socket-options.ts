/** Numbers of the Linux ABI that only BFD's datagram sockets need. */
export const SO_PRIORITY = 12;
export const SO_BINDTODEVICE = 25;
export const SO_MEMINFO = 55;
export const SO_BINDTOIFINDEX = 62;
/** Index of the drop counter in what SO_MEMINFO gives. */
export const SK_MEMINFO_DROPS = 8;

export const IP_TOS = 1;
export const IP_TTL = 2;
export const IP_PKTINFO = 8;
export const IP_RECVTTL = 12;

export const IPV6_UNICAST_HOPS = 16;
export const IPV6_RECVPKTINFO = 49;
export const IPV6_RECVHOPLIMIT = 51;
export const IPV6_TCLASS = 67;

/** TC_PRIO_CONTROL, the queue of routing protocols; and DSCP CS6, their mark. */
export const priorityControl = 7;
export const trafficClassControl = 0xc0;
