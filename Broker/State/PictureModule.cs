namespace Broker.State;

/// <summary>
/// A module whose state is a picture that never changes: the commands of an entry make the next one, which others see,
/// on any thread, when the entry ends.
/// </summary>
public abstract class PictureModule<TPicture> : StateModule
    where TPicture : class
{
    private readonly TPicture _empty;
    private readonly Action<TPicture>? _changed;
    private TPicture _current;
    private TPicture _next;

    /// <param name="empty">The state before the first entry.</param>
    /// <param name="changed">
    /// Called after an entry or a snapshot that made something different, on the thread that applies: it must not block
    /// and must not throw. Null: nobody wants to know.
    /// </param>
    private protected PictureModule(TPicture empty, Action<TPicture>? changed = null)
    {
        _changed = changed;
        _empty = _current = _next = empty;
    }

    /// <summary>The state after the last applied entry. Any thread.</summary>
    public TPicture Current => Volatile.Read(ref _current);

    /// <summary>What the commands of the entry have come to so far; only within an entry.</summary>
    internal ref TPicture Next => ref _next;

    internal override void EndEntry()
    {
        if (!ReferenceEquals(_next, _current))
        {
            Show(_next);
        }
    }

    internal override void Clear() => Show(_empty);

    /// <summary>Puts a picture in the place of the state, as a snapshot does.</summary>
    private protected void Show(TPicture picture)
    {
        _next = picture;
        Volatile.Write(ref _current, picture);
        _changed?.Invoke(picture);
    }
}
