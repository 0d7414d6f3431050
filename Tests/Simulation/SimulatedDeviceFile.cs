using Broker.Storage;

namespace Broker.Tests.Simulation;

/// <summary>An open file of a simulated disk; invalid after a crash or kill.</summary>
internal sealed class SimulatedDeviceFile(SimulatedDevice device, string path, SimulatedDeviceInode inode, int life)
    : IStorageFile
{
    private bool _disposed;

    public long Length => device.Run(() => inode.Length, CheckUsable);

    public int Read(long offset, Span<byte> into)
    {
        lock (device.Gate)
        {
            device.OnTouch?.Invoke(path);
            CheckUsable();
            return inode.Read(offset, into);
        }
    }

    public void Write(long offset, ReadOnlySpan<byte> bytes)
    {
        var copy = bytes.ToArray();
        Change(SimulatedDeviceOperation.Write, copy.Length, offset, () => inode.Write(offset, copy));
    }

    public void Write(long offset, IReadOnlyList<ReadOnlyMemory<byte>> parts)
    {
        var copy = new byte[parts.Sum(static part => part.Length)];
        var at = 0;
        foreach (var part in parts)
        {
            part.Span.CopyTo(copy.AsSpan(at));
            at += part.Length;
        }

        Change(SimulatedDeviceOperation.Write, copy.Length, offset, () => inode.Write(offset, copy));
    }

    public void Allocate(long lengthBytes) => Change(
        SimulatedDeviceOperation.Allocate, lengthBytes, 0, () => inode.SetLength(Math.Max(inode.Length, lengthBytes)));

    public void Sync()
    {
        lock (device.Gate)
        {
            CheckUsable();
            try
            {
                device.Begin(SimulatedDeviceOperation.Sync, path, growthBytes: 0);
            }
            catch (IOException)
            {
                inode.DropPending();
                throw;
            }

            device.End(isDone: () => inode.Sync(), isPending: false);
        }
    }

    public void Dispose() => _disposed = true;

    private void Change(SimulatedDeviceOperation operation, long count, long offset, Action change)
    {
        lock (device.Gate)
        {
            CheckUsable();
            device.Begin(operation, path, Math.Max(0, offset + count - inode.Length));
            device.End(change, isPending: true);
        }
    }

    private void CheckUsable()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (life != device.Life)
        {
            throw new InvalidOperationException($"{path} was opened before the last crash.");
        }
    }
}
