namespace Aspire.Hosting.ApplicationModel;

/// <summary>Makes command results.</summary>
public static class CommandResults
{
    public static ExecuteCommandResult Success() => new() { Success = true };

    public static ExecuteCommandResult Failure(string? errorMessage = null) =>
        new() { Success = false, Message = errorMessage };
}
