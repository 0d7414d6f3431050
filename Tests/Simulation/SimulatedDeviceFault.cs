namespace Broker.Tests.Simulation;

/// <summary>What a simulated operation does instead of its work.</summary>
public enum SimulatedDeviceFault
{
    None,

    /// <summary>EIO. A flush that fails so drops what it should have flushed, as Linux does.</summary>
    IoError,

    /// <summary>ENOSPC.</summary>
    DiskFull,
}

/// <summary>The operations that change a simulated disk.</summary>
public enum SimulatedDeviceOperation
{
    CreateFolder,
    Create,
    Delete,
    Rename,
    SyncFolder,
    Write,
    Allocate,
    Sync,
}

/// <summary>What a power cut does with writes that were not flushed.</summary>
public enum SimulatedDeviceCrash
{
    DropUnsynced,
    KeepUnsynced,

    /// <summary>
    /// Each 512-byte sector keeps some prefix of its writes, independent of the others: dropped, torn and reordered.
    /// </summary>
    Shuffle,
}

/// <summary>The power is gone in the middle of an operation. No product code may catch it.</summary>
public sealed class SimulatedPowerCutException() : Exception("The simulated power is cut.");
