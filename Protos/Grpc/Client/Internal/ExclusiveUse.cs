namespace Grpc.Net.Client.Internal;

/// <summary>
/// Guards a pooled buffer that one operation at a time uses and that any thread may close. The buffer is given back
/// once, when it is closed and no operation holds it.
/// </summary>
internal abstract class ExclusiveUse
{
    private const int Idle = 0;
    private const int Busy = 1;
    private const int Released = 2;

    private int _state;
    private volatile bool _isClosed;

    public bool IsClosed => _isClosed;

    public void Close()
    {
        _isClosed = true;
        ReleaseWhenIdle();
    }

    protected bool TryEnter() => !_isClosed && Interlocked.CompareExchange(ref _state, Busy, Idle) == Idle;

    protected void Exit()
    {
        Volatile.Write(ref _state, Idle);
        if (_isClosed)
        {
            ReleaseWhenIdle();
        }
    }

    protected abstract void ReleaseBuffer();

    private void ReleaseWhenIdle()
    {
        if (Interlocked.CompareExchange(ref _state, Released, Idle) == Idle)
        {
            ReleaseBuffer();
        }
    }
}
