"""Names of ClassAd attributes that are offered while somebody types: those that people ask for."""

OF_JOBS = """
AcctGroup AcctGroupUser Args Arguments AutoClusterId BytesRecvd BytesSent ClusterId Cmd CommittedTime
CompletionDate ConcurrencyLimits ContainerImage CpusProvisioned CpusUsage CumulativeRemoteUserCpu
CumulativeSuspensionTime DAGManJobId DAGNodeName DAG_NodesDone DAG_NodesTotal DiskProvisioned DiskUsage
EnteredCurrentStatus Environment Err ExitBySignal ExitCode ExitSignal GlobalJobId GPUsProvisioned HoldReason
HoldReasonCode HoldReasonSubCode ImageSize In Iwd JobBatchName JobCoolDownExpiration JobCurrentStartDate
JobDescription JobPrio JobRunCount JobStartDate JobStatus JobUniverse LastHoldReason LastHoldReasonCode
LastJobStatus LastMatchTime LastRejMatchReason LastRejMatchTime LastRemoteHost LastRemoteWallClockTime
LeaveJobInQueue MemoryProvisioned MemoryUsage NumHolds NumJobCompletions NumJobMatches NumJobStarts
NumShadowStarts Out Owner PeriodicHold PeriodicRelease PeriodicRemove ProcId QDate Rank ReleaseReason
RemoteHost RemoteSysCpu RemoteUserCpu RemoteWallClockTime RemoveReason RequestCpus RequestDisk RequestGPUs
RequestMemory Requirements ResidentSetSize ServerTime ShouldTransferFiles StartdPrincipal SubmitVersion
TotalSubmitProcs TotalSuspensions TransferInput TransferOutput TransferQueued TransferringInput
TransferringOutput User WhenToTransferOutput
""".split()  # noqa: SIM905 - a list of lines is no reading
"""Of jobs, in the queue and after."""
OF_SLOTS = """
Activity Arch AvailableGPUs ClientMachine CondorLoadAvg CondorVersion Cpus CpusUsage CpuModelNumber CpuFamily
DetectedCpus DetectedGPUs DetectedMemory Disk DynamicSlot EnteredCurrentActivity EnteredCurrentState
FileSystemDomain GlobalJobId GPUs HasContainer HasDocker HasFileTransfer HasSingularity JobId JobStarts
KeyboardIdle KFlops LastHeardFrom LoadAvg Machine MachineResources Memory MemoryUsage Microarch Mips MyAddress
MyType Name NumDynamicSlots OpSys OpSysAndVer OpSysMajorVer OpSysName OpSysShortName PartitionableSlot Rank
RecentJobStarts RemoteOwner RemoteUser Requirements SingularityVersion SlotID SlotType SlotWeight Start State
TotalCpus TotalDisk TotalGPUs TotalLoadAvg TotalMemory TotalSlotCpus TotalSlotDisk TotalSlotGPUs
TotalSlotMemory TotalSlots UidDomain VirtualMemory
""".split()  # noqa: SIM905 - a list of lines is no reading
"""Of slots."""
