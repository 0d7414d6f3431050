namespace Aspire.Hosting.Local;

/// <summary>What the application's description gives to a process.</summary>
internal sealed record LaunchInput(IReadOnlyDictionary<string, string> Environment, IReadOnlyList<string> Arguments);
